# regiontree on the CPU: docs/how-to/docker.md says how to build and run it.
#   docker build -t regiontree .
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
# Empty: PyTorch comes from the index that pip is set to, as the other packages do.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=embedded,viewer,export,plot
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv /opt/regiontree
ENV PATH=/opt/regiontree/bin:$PATH
COPY constraints.txt ./
# hadolint ignore=DL3013
RUN pip install --quiet ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY src src
RUN pip wheel --quiet --no-deps --wheel-dir dist . \
    && pip install --quiet -c constraints.txt "$(echo dist/*.whl)[$EXTRAS]"
# One tree unpacks the network and compiles the loops, so that containers need not. numba compares
# the times of source files to a fraction of a second, which an image does not keep.
COPY examples/astronaut.jpg ./
ENV REGIONTREE_CACHE=/opt/weights NUMBA_CACHE_DIR=/opt/loops
RUN find /opt/regiontree/lib -path '*/site-packages/regiontree/*.py' -exec touch -d @1700000000 {} + \
    && python -m compileall -q /opt/regiontree/lib/python3*/site-packages/regiontree \
    && regiontree segment astronaut.jpg -o trees \
    && chmod -R a+rX /opt/weights \
    && chmod -R a+rwX /opt/loops

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="regiontree" \
      org.opencontainers.image.description="A photograph as a tree of its semantic regions" \
      org.opencontainers.image.source="https://github.com/regiontree/regiontree" \
      org.opencontainers.image.licenses="MIT"
RUN useradd --uid 1000 --create-home visitor && mkdir /work && chown visitor /work
COPY --from=build /opt/regiontree /opt/regiontree
COPY --from=build /opt/weights /opt/weights
COPY --from=build /opt/loops /opt/loops
ENV PATH=/opt/regiontree/bin:$PATH PYTHONUNBUFFERED=1 \
    REGIONTREE_CACHE=/opt/weights NUMBA_CACHE_DIR=/opt/loops MPLCONFIGDIR=/tmp/matplotlib
# Written to also if the rest of the container is read-only: loops for another processor.
VOLUME /opt/loops
USER 1000
WORKDIR /work
ENTRYPOINT ["regiontree"]
CMD ["--help"]
