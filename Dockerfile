# syncer as one static binary on a base without a shell: nothing in the image can start git, helm or a plugin.
FROM golang:1.26 AS build
ARG VERSION=devel
ARG COMMIT=unknown
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY config config
COPY docs/reference docs/reference
COPY pkg pkg
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT}" -o /syncer ./cmd/syncer

FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION=devel
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="syncer" \
      org.opencontainers.image.description="GitOps for data pipelines" \
      org.opencontainers.image.source="https://github.com/syncerdev/syncer" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=build /syncer /syncer
USER 65532:65532
ENTRYPOINT ["/syncer"]
CMD ["run"]
