# One image for every role of kvs: the binary, what it is linked to, and no shell.
#
#   docker build -t kvs .

ARG DENO_VERSION=2.9.6

FROM denoland/deno:${DENO_VERSION} AS build
WORKDIR /src
COPY . .
# The folder becomes /var/data, where the servers keep their keys: a volume that is new, or none at
# all, takes its owner, and a server that is not root can write there.
RUN deno task compile && mkdir /data

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="kvs" \
  org.opencontainers.image.description="A sharded key/value store for Kubernetes StatefulSets" \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"
COPY --from=build --chown=65532:65532 /data /var/data
COPY --from=build /src/dist/kvs /kvs
# A number, so that the kubelet can tell that it is not root (runAsNonRoot).
USER 65532:65532
ENTRYPOINT ["/kvs"]
