# syntax=docker/dockerfile:1
# visage in a container: docker build --target cpu -t visage:cpu . (or --target cuda; compose.yaml does both).
#
# The environment is what `make setup` makes, in a stage of its own that changes only with the pins, so an edit of the
# code rebuilds nothing large. PyTorch's usual wheels bring CUDA with them: the cuda image needs no other base, only the
# host's driver. The cpu image is gigabytes smaller where TORCH_INDEX names PyTorch's index of wheels without CUDA.
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d AS base
# make sets up, git names the commit of a run and makes experiments, mediapipe loads the GL libraries even on a CPU.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git libegl1 libgles2 make \
    && rm -rf /var/lib/apt/lists/*
ENV VENV=/opt/venv PIP_NO_CACHE_DIR=1
WORKDIR /visage

FROM base AS setup
COPY LICENSE Makefile README.md constraints.txt pyproject.toml ./
COPY src/visage/__init__.py src/visage/

FROM setup AS setup-cpu
ARG TORCH_INDEX=""
ENV PIP_EXTRA_INDEX_URL=$TORCH_INDEX
RUN make setup

FROM setup AS setup-cuda
RUN make setup

FROM base AS code
RUN useradd --uid 1000 visage \
    && chown visage:visage . \
    && mkdir /etc/dvc \
    && printf '[core]\n    no_scm = true\n' > /etc/dvc/config
# Whatever user compose gives may have no entry in /etc/passwd: it needs a home and a name. The image has no .git, and
# DVC has to be told so.
ENV HOME=/tmp USER=visage PATH=/opt/venv/bin:$PATH PYTHONPATH=src DVC_SYSTEM_CONFIG_DIR=/etc/dvc
COPY --chown=visage:visage . .
USER visage
CMD ["make", "repro"]

FROM code AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=setup-cuda /opt/venv /opt/venv

FROM code AS cpu
COPY --from=setup-cpu /opt/venv /opt/venv
