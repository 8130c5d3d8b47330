# The image of .github/docker with what the KubeRay operator asks a head for: Ray's job server.
#   docker build -f .github/docker/Dockerfile --build-arg ENGINE=vllm -t thumbline:gpu .
#   docker build -f pipeline/configs/cluster/kuberay.Dockerfile -t REGISTRY/thumbline:kuberay pipeline/configs/cluster
ARG IMAGE=thumbline:gpu
FROM ${IMAGE}
USER 0
RUN python -m pip install --no-cache-dir "ray[default]==2.60.0"
USER 1000
ENTRYPOINT []
