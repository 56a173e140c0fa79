# One line per target, shown by `make`.
.DEFAULT_GOAL := help
.PHONY: help generate check chart-lint

help: ## Show this.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

generate: ## Write the files that are made from code and chart: crds/, the chart's copy, deploy/.
	TANDEM_GENERATE=1 cargo test --quiet --test generated the_definition

check: ## Format, lints and unit tests: seconds when warm, no root needed.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
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
