# The pod's image: `docker build -t REGISTRY/mdp-pipeline:TAG .`
# To pin the base: --build-arg NODE_IMAGE=docker.io/library/node:26-bookworm-slim@sha256:…
ARG NODE_IMAGE=docker.io/library/node:26-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
# The optional dependencies are Node itself, which the base has.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund
COPY LICENSE ./
COPY pipeline ./pipeline
# Readable for whoever it runs as, whatever the umask of the checkout was.
RUN chmod -R a=rX,u+w . && mkdir /data

# Nothing is run in this stage, so that nothing of the machine that builds it can stay behind.
FROM ${NODE_IMAGE}
ARG NODE_IMAGE
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mdp-pipeline" \
      org.opencontainers.image.description="A pod of the market-data pipeline: stores each tick of its providers exactly once." \
      org.opencontainers.image.version="0.9.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="${NODE_IMAGE}"
WORKDIR /app
COPY --from=build /app ./
# For the default MDP_STORE, a SQLite file: mount a volume here. All else may be read-only.
COPY --from=build --chown=1000:1000 /data ./data
USER 1000:1000
ENV MDP_HOST=0.0.0.0
EXPOSE 8000
# Alive, as the liveness probe of the manifests means it: it answers. Whether it is ready is nobody's reason to kill it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.MDP_PORT || 8000}/health`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# Node is process 1 and takes SIGTERM itself: neither the base's entrypoint nor an init stands between.
ENTRYPOINT []
CMD ["node", "--max-semi-space-size=4", "pipeline/main.ts"]
