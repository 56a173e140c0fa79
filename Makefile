# One line per target, shown by `make`.
.DEFAULT_GOAL := help
.PHONY: help generate check chart-lint simulate test test-full test-nfs soak bench warm-up demo demo-down krew

help: ## Show this.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

generate: ## Write the files that are made from code and chart: crds/, the chart's copy, deploy/.
	TANDEM_GENERATE=1 cargo test --quiet --test generated the_definition

check: ## Format, lints and unit tests: seconds when warm, no root needed.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo clippy --workspace --test database --test e2e --test nfs --quiet -- -D warnings
	cargo test --workspace --lib --quiet
	cargo test --package tandem --tests --quiet

# The test bed builds Helm; one of your own is used with TANDEM_HELM=/path/to/helm.
TANDEM_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tandem-testbed
TANDEM_HELM ?= $(or $(lastword $(sort $(wildcard $(TANDEM_CACHE)/kubernetes-*/helm))),helm)

chart-lint: ## Lint the chart and render it with everything switched on.
	$(TANDEM_HELM) lint --strict charts/tandem
	$(TANDEM_HELM) template tandem charts/tandem --namespace tandem-system --set replicas=3 \
		--set watchNamespace=shop --set podDisruptionBudget.enabled=true \
		--set networkPolicy.enabled=true > /dev/null

# A seed that fails prints what happened, and how to see it again.
simulate: ## Bad days in virtual time, one for each seed: SEEDS=<count> FIRST_SEED=<n>.
	SEEDS=$(or $(SEEDS),100000) FIRST_SEED=$(or $(FIRST_SEED),1) cargo test --package tandem-safety \
		--test simulation -- --nocapture no_seed_breaks_the_group

test: ## All kinds of tests, end to end included; needs root and Linux, at most 55 minutes from cold.
	tests/stages.sh

test-full: ## As test, with repetitions and the whole matrix.
	tests/stages.sh full

# Most of the time is waiting for leases, so tests run side by side also on few processors.
test-nfs: ## What real NFS clients are told of locks, in emulated machines; root and Linux, 5 minutes once built.
	cargo build --release --bin tandem
	cargo test --workspace --test nfs -- --test-threads 4 --nocapture

SECONDS ?= 1800
soak: ## Random faults, half an hour of them: SECONDS=... SEED=... (one that failed, say); root and Linux.
	cargo build --release --bin tandem
	cargo build --workspace --bins
	target/x86_64-unknown-linux-gnu/debug/soak --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

bench: ## Failover times against three baselines, and the footprint, into target/bench; root and Linux, 75 minutes.
	cargo build --profile dist --bin tandem
	cargo build --workspace --bins
	TANDEM_BINARY=target/x86_64-unknown-linux-gnu/dist/tandem target/x86_64-unknown-linux-gnu/debug/bench $(BENCH)

# One after the other, because each adds to the same file.
warm-up: ## Add to the list of classes that standbys initialise beforehand, for a new version of the broker; root and Linux.
	cargo build --release --bin tandem
	TANDEM_GENERATE=1 TANDEM_FULL=1 \
		TANDEM_ONLY=standby_is_warm,database_standby_is_warm_postgresql,leased_volume_standby_is_warm_postgresql \
		cargo test --workspace --test e2e -- --test-threads 1

URL ?= $(error say URL=..., the address at which the archive will be found)
krew: ## The kubectl plugin's archive and krew's manifest of it, into target/krew: URL=...
	cargo build --profile dist --bin kubectl-tandem
	deploy/krew/package target/x86_64-unknown-linux-gnu/dist/kubectl-tandem $(URL) target/krew

demo: ## A master is killed while clients go on, then switched over, on a real Kubernetes here; root and Linux.
	cargo build --release --bin tandem
	cargo build --workspace --bins
	target/x86_64-unknown-linux-gnu/debug/demo

demo-down: ## Take the demo's Kubernetes down.
	target/x86_64-unknown-linux-gnu/debug/testbed down
