FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin tidegate

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin tidegate \
    && install -d -o tidegate -g tidegate -m 0700 /data
COPY --from=build /src/target/release/tidegate /usr/local/bin/tidegate
COPY LICENSE /usr/share/doc/tidegate/LICENSE
USER tidegate
ENV TIDEGATE_DATA_DIR=/data
VOLUME /data
# RTMP, and HTTP for the API, events and FLV. The ops listener stays on the container's loopback.
EXPOSE 1935 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=10s --start-period=10s --retries=3 CMD ["tidegate", "healthcheck"]
ENTRYPOINT ["tidegate"]
CMD ["serve"]
