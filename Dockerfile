# The image holds weir, the C and C++ libraries that it is linked to, and certificates of public authorities: no shell, no package manager,
# nothing to be root for. tools/image-root lays it out, and proxy/tests/k8s.rs runs weir in that layout.
#
#   docker build --tag weir:0.1.0 .
#
# Needs BuildKit (Docker 23 on, Buildah, Podman): RocksDB, six minutes of compiling, stays in a cache between builds.

FROM rust:1.95.0-slim-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates g++ libclang-dev make \
 && rm -rf /var/lib/apt/lists/*
# The toolchain of the image is the one of rust-toolchain.toml; this keeps it from fetching clippy and rustfmt.
ENV RUSTUP_TOOLCHAIN=1.95.0 ROCKSDB_STATIC=1
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/root/.cache/weir \
    ROCKSDB_LIB_DIR="$(tools/rocksdb-unity)" cargo build --release --locked --package weir
RUN strip --strip-debug target/release/weir \
 && tools/image-root target/release/weir /image

FROM scratch
LABEL org.opencontainers.image.title="weir" \
      org.opencontainers.image.description="A gateway in front of Apache Kafka that stops sensitive data from crossing a stream" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/ /
COPY --from=build --chown=65532:65532 --chmod=0750 /image/var/lib/weir/ /var/lib/weir/
ENV PATH=/usr/local/bin
USER 65532:65532
WORKDIR /etc/weir/config
# /livez and /readyz are for whoever runs the container: there is no program here that could ask them.
HEALTHCHECK NONE
ENTRYPOINT ["/usr/local/bin/weir"]
CMD ["serve", "--config", "/etc/weir/config/weir.yaml"]
