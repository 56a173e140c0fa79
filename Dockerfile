# The operator's image: one static binary and nothing else. The same image brings the agent into
# broker pods.
#
#   cargo build --profile dist --bin tandem
#   docker build --tag REGISTRY/tandem:0.1.0 --file Dockerfile target/x86_64-unknown-linux-gnu/dist
FROM scratch
COPY tandem /tandem
USER 65532:65532
ENTRYPOINT ["/tandem"]
