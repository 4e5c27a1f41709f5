# One static binary in an empty image: no shell, no package manager, nobody to become.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache build-base
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin egressd && mkdir -p /image/etc/egressd \
 && cp target/release/egressd /image/egressd \
 && cp -r config/egressd.yaml config/connections /image/etc/egressd/ \
 && cp LICENSE-APACHE LICENSE-MIT /image/

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
# A sidecar shares its pod's network: the agent calls 127.0.0.1:8080. Mount your own definitions over /etc/egressd.
ENTRYPOINT ["/egressd"]
CMD ["serve", "--config", "/etc/egressd/egressd.yaml"]
