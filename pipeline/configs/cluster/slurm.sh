#!/bin/bash
# A run on Slurm: sbatch pipeline/configs/cluster/slurm.sh pipeline/configs/cluster-8b.yaml [--until reference ...]
# Submit it again after a fault or the time limit: what is finished, and each shard that is scored, is kept.
#SBATCH --job-name=thumbline
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=64
#SBATCH --gpus-per-node=8
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --output=thumbline-%j.log
#SBATCH --signal=TERM@120
set -euo pipefail
run_file=${1:?name a run file}
shift

# The environment that holds thumbline with the extras vllm and ray, on a disk that every node sees.
# shellcheck source=/dev/null
source "${THUMBLINE_ENVIRONMENT:-.venv}/bin/activate"

# Everybody on the network could otherwise have this cluster run code; Ray hands the variable on to its workers.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN
export RAY_USAGE_STATS_ENABLED=0

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | cut -d ' ' -f 1)
# A port of the job's own: two jobs may share a node.
port=$((20000 + SLURM_JOB_ID % 20000))

# One Ray of all nodes; the command runs on the first, and all of it ends with the command.
srun --kill-on-bad-exit=1 ray symmetric-run \
  --address "$address:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" \
  -- thumbline run "$run_file" "$@" --on ray --set "scale.address=$address:$port"
