# One static binary in an empty image, without a shell, a package manager or other users. A request
# takes as many instructions with static glibc as with shared libraries. egressd does not need the
# parts of glibc that work only with shared libraries (getaddrinfo, NSS), because it resolves names
# itself. Builds for every architecture of the build image.
ARG RUST_IMAGE=rust:1.95-slim-bookworm
FROM ${RUST_IMAGE} AS build
WORKDIR /src
# The dependencies are built separately, so that a change in src/ does not build them again.
COPY Cargo.toml Cargo.lock ./
COPY .ci/build-release .ci/release.profdata .ci/static.toml .ci/
COPY .cargo/config.toml .cargo/
COPY benches/*.rs benches/
RUN mkdir src && touch src/lib.rs && echo 'fn main() {}' >src/main.rs \
 && .ci/build-release && rm -r src
COPY . .
# A copied file may be older than the build of the empty file that it replaces. touch renews its
# time, so that cargo builds it again.
RUN touch src/lib.rs src/main.rs && .ci/build-release \
 && .ci/lay-image target/*/release/egressd /image

FROM scratch
LABEL org.opencontainers.image.title="egressd" \
      org.opencontainers.image.description="A sandboxed outbound HTTP proxy sidecar" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"
# Keeps the owners of the stage: /var/lib/egressd belongs to the user below, all else to root.
COPY --from=build /image/ /
USER 65532:65532
# Requests /readyz. Kubernetes ignores HEALTHCHECK and uses probes instead.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["/egressd", "healthcheck", "--config", "/etc/egressd/egressd.yaml"]
# No EXPOSE, because egressd listens on loopback only. An agent in the same pod or network namespace
# can connect to it there.
ENTRYPOINT ["/egressd"]
CMD ["serve", "--config", "/etc/egressd/egressd.yaml"]
