#!/usr/bin/env bash
# On a machine with a GPU and without network: install wheels, run the GPU tests and the benchmark, write a folder.
#   benchmarks/device_check.sh OUT [SECONDS] [WHEELS]
# OUT gets tests.txt, tests.xml, peaks.json, benchmark.txt, <gpu>.json, table.md and summary.txt. SECONDS (default 480)
# are for all of it: the tests get at most two fifths, the benchmark what is left. WHEELS (default .whl) is a folder
# with what the machine's Python lacks (docs/speed.md says how to fill it). The package itself is not installed.
# SKIP_TESTS=1 or SKIP_BENCHMARK=1 leaves one out; TESTS and BENCHMARK are further arguments of pytest and gpu.py.
# DEVICE=cpu tries the script where there is no GPU, at toy sizes.
set -u
begun=$(date +%s)
cd "$(dirname "$0")/.." || exit 2
out=$(mkdir -p "${1:?the folder for the results}" && cd "$1" && pwd) || exit 2
seconds=${2:-480}
wheels=${3:-.whl}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
left() { echo $((seconds - $(date +%s) + begun)); }

if compgen -G "$wheels/*.whl" >/dev/null; then
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" \
        "$wheels"/*.whl 2>&1 | grep -v "WARNING: Running pip" || true
fi
export PYTHONPATH="$site:$PWD/src:$PWD/benchmarks:$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
export NO_ALBUMENTATIONS_UPDATE=1 HF_HUB_OFFLINE=1 GKD_GPU_PEAKS="$out/peaks.json"
tiny=()
if [ "${DEVICE:-cuda}" = cpu ]; then
    export GKD_GPU_SUITE_DEVICE=cpu
    tiny=(--tiny)
fi
python3 -c "import torch, timm, transformers, lightning, gkd_lightning as g
print('torch', torch.__version__, 'timm', timm.__version__, 'transformers', transformers.__version__, 'gkd', g.__version__)
print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'no CUDA device')" 2>&1 | tee "$out/summary.txt"
echo "ready after $(($(date +%s) - begun)) s" | tee -a "$out/summary.txt"

if [ -z "${SKIP_TESTS:-}" ]; then
    timeout -k 5 $((seconds * 2 / 5)) python3 -m pytest -n 4 --dist loadgroup -q -m gpu -rA --durations 15 -p no:cacheprovider --tb=short \
        --junitxml "$out/tests.xml" tests/gpu ${TESTS:-} >"$out/tests.txt" 2>&1
    echo "tests: exit $? after $(($(date +%s) - begun)) s" | tee -a "$out/summary.txt"
fi
if [ -z "${SKIP_BENCHMARK:-}" ] && [ "$(left)" -gt 30 ]; then
    budget=$(($(left) - 15))
    timeout -k 5 $((budget + 10)) python3 benchmarks/gpu.py --out "$out" --budget "$budget" "${tiny[@]}" \
        ${BENCHMARK:-} >"$out/benchmark.txt" 2>&1
    echo "benchmark: exit $? after $(($(date +%s) - begun)) s" | tee -a "$out/summary.txt"
fi

{
    grep -E "^(PASSED|FAILED|ERROR|SKIPPED|E  )|passed|failed|MiB, committed|through the trainer:" "$out/tests.txt" 2>/dev/null
    grep -E "^\[|not measured|Error" "$out/benchmark.txt" 2>/dev/null
} | cut -c1-220 | tee -a "$out/summary.txt"
