# One static binary in an empty image: no shell, no package manager, nobody to become. Linked with glibc, whose allocator the benches know:
# static, a request costs the instructions that it costs with shared libraries. Nothing here asks for what only those have (getaddrinfo,
# NSS), since egressd resolves names itself. Builds for every architecture that the build image has.
ARG RUST_IMAGE=rust:1.95-slim-bookworm
FROM ${RUST_IMAGE} AS build
WORKDIR /src
# What is depended on is built for itself, so that a change of src/ does not build it again.
COPY Cargo.toml Cargo.lock ./
COPY .ci/static.toml .ci/
COPY benches/*.rs benches/
RUN mkdir src && touch src/lib.rs && echo 'fn main() {}' >src/main.rs \
 && cargo build --config .ci/static.toml --release --no-default-features --locked --bin egressd && rm -r src
COPY . .
# A copied file may be older than what was built from the empty one: without a new time cargo would keep that.
RUN touch src/lib.rs src/main.rs && cargo build --config .ci/static.toml --release --no-default-features --locked --bin egressd \
 && .ci/lay-image target/*/release/egressd /image

FROM scratch
LABEL org.opencontainers.image.title="egressd" \
      org.opencontainers.image.description="A sandboxed outbound HTTP proxy sidecar" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"
COPY --from=build /image/ /
USER 65532:65532
# Asks /readyz. Kubernetes ignores it and has probes instead.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["/egressd", "healthcheck", "--config", "/etc/egressd/egressd.yaml"]
# No EXPOSE: it listens on loopback alone, where an agent in the same pod or network namespace finds it.
ENTRYPOINT ["/egressd"]
CMD ["serve", "--config", "/etc/egressd/egressd.yaml"]
