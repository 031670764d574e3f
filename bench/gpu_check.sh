#!/usr/bin/env bash
# What a GPU says to the CUDA backend, on a machine that has one, nvcc, g++, cmake and ninja, and no network.
#
#   bench/gpu_check.sh --bundle DIR          on a machine with packages.txt installed: the sources and the libraries they need,
#                                            in one folder to be copied to the GPU machine (--cudnn: NVIDIA's cuDNN too)
#   bench/gpu_check.sh [options] [STAGE...]  on the GPU machine, in that folder: all stages, or the named ones
#
# Stages, in order; each stays below --minutes (10) or is cut off; the next call goes on with it:
#   build       configures with RELUME_MINIMAL=ON and compiles
#   ops         the operation cases and the other tests of tests/cuda; the communicator over NCCL, with one rank
#   parity      reference numbers: tests/fixtures/parity, and every folder given with --parity
#   sanitizer   compute-sanitizer: memcheck over the operation cases, racecheck over the kernels with shared memory
#   bench       device_bench: operations at the real shapes, as shares of what the device reaches; f32, bf16, f16
#   compare     SwinIR, forward and training step, beside PyTorch eager and torch.compile
#   refine      stage two's networks, full size, beside diffusers eager and torch.compile
#   report      one JSON and one Markdown file in bench/results/<device>/
# A stage that is done is not run again (--again does); one that cannot run says why, here and in the report.
#
# --device cuda|cuda:N|cpu (cuda)   --parity DIR (repeatable)   --python PYTHON (with torch, spandrel, safetensors, diffusers)
# --networks FILE   a file of all networks of stage two (`relume init`); else one is written into the build folder, 6.7 GB
# --build DIR (build-gpu)           --results DIR (bench/results)    --minutes N    --again
# --quick: does it work at all? bench takes the demo's shapes alone, compare pictures of 128 x 128
# RELUME_CMAKE_ARGS: more options for cmake
#
# Exit code: 0, or 1 when a stage failed, 3 when one was cut off: call again.
set -euo pipefail

root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
all_stages=(build ops parity sanitizer bench compare refine report)
device=cuda build=$root/build-gpu results=$root/bench/results minutes=10 again='' quick=() bundle='' with_cudnn=''
python=${RELUME_TORCH_PYTHON:-python3} networks=''
parity_folders=("$root/tests/fixtures/parity")
stages=()
PATH=$PATH:/usr/local/cuda/bin

say() { printf 'gpu_check: %s\n' "$*" >&2; }
fail() { say "$@"; exit 2; }

while (($#)); do
  case $1 in
    --bundle | --device | --build | --results | --minutes | --python | --parity | --networks) (($# > 1)) || fail "$1: expects a value" ;;&
    --bundle) bundle=$2; shift ;;
    --device) device=$2; shift ;;
    --build) build=$(realpath -m -- "$2"); shift ;;
    --results) results=$(realpath -m -- "$2"); shift ;;
    --minutes) minutes=$2; shift ;;
    --python) python=$2; shift ;;
    --networks) networks=$(realpath -m -- "$2"); shift ;;
    --parity) parity_folders+=("$(realpath -m -- "$2")"); shift ;;
    --cudnn) with_cudnn=yes ;;
    --again) again=yes ;;
    --quick) quick=(--quick) ;;
    -h | --help) sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit ;;
    *) [[ " ${all_stages[*]} " == *" $1 "* ]] || fail "unknown argument '$1'; stages are ${all_stages[*]}; see --help"
       stages+=("$1") ;;
  esac
  shift
done
[[ $device =~ ^(cpu|cuda(:[0-9]+)?)$ ]] || fail "--device $device: expected cpu, cuda or cuda:N"
[[ $minutes =~ ^[1-9][0-9]*$ ]] || fail "--minutes $minutes: expected a whole number"
((${#stages[@]})) || stages=("${all_stages[@]}")
out=$build/check

# ---- The bundle --------------------------------------------------------------------------------------------------------------

# What RELUME_MINIMAL needs beside compilers (CMakeLists.txt).
bundled_packages=(libfmt-dev libyaml-cpp-dev nlohmann-json3-dev libcli11-dev libgtest-dev)

# The package's headers, libraries and CMake files, below third_party/ as they lie below /.
bundle_package() {
  local path
  dpkg -L "$1" | grep -E '^/usr/(include|lib|share/cmake)/' | while read -r path; do
    if [[ ! -d $path || -L $path ]]; then printf '%s\n' "$path"; fi
    if [[ $path == *.so ]]; then printf '%s\n' "$path".*; fi  # the library itself, of another package
  done | sed 's|^/||' | (cd / && xargs -d '\n' cp -a --parents -t "$bundle/third_party")
}

make_bundle() {
  command -v dpkg >/dev/null || fail "--bundle takes the libraries from Debian's packages, and there is no dpkg here"
  [[ ! -e $bundle ]] || fail "--bundle $bundle: exists already; name a new folder"
  dpkg -s "${bundled_packages[@]}" >/dev/null 2>&1 || fail "--bundle: install ${bundled_packages[*]} first"
  mkdir -p -- "$bundle/third_party"
  bundle=$(realpath -- "$bundle")
  git -C "$root" ls-files -z --cached --others --exclude-standard | tar -C "$root" --null -T - -cf - | tar -C "$bundle" -xf -
  git -C "$root" describe --always --dirty >"$bundle/third_party/revision"
  local package toolkit library
  for package in "${bundled_packages[@]}"; do bundle_package "$package"; done
  if [[ $with_cudnn ]]; then
    toolkit=$(dirname -- "$(dirname -- "$(readlink -f -- "$(command -v nvcc)")")")
    compgen -G "$toolkit/lib64/libcudnn*.so.9" >/dev/null || fail "--cudnn: no libcudnn*.so.9 in $toolkit/lib64"
    mkdir -p -- "$bundle/third_party/usr/include" "$bundle/third_party/usr/lib"
    cp -L -- "$toolkit"/include/cudnn*.h "$bundle/third_party/usr/include/"
    for library in "$toolkit"/lib64/libcudnn*.so.9; do
      cp -L -- "$library" "$bundle/third_party/usr/lib/"
      ln -s -- "$(basename -- "$library")" "$bundle/third_party/usr/lib/$(basename -- "${library%.9}")"
    done
  fi
  say "$bundle: $(du -sh -- "$bundle" | cut -f1); copy it to the GPU machine and call bench/gpu_check.sh there"
}

# ---- Stages: each a function in a shell of its own, whose output is its log ----------------------------------------------------

skip() { printf '%s' "$*" >"$out/$stage.why"; exit 77; }
note() { printf '%s' "$*" >"$out/$stage.what"; }  # what the report says of a stage that is done
limited() {
  local left=$((deadline - SECONDS))
  ((left > 0)) || exit 124
  timeout --kill-after=10 "$left" "$@"
}
on_gpu() { [[ $device != cpu ]]; }
need_gpu() {
  on_gpu || skip "--device cpu: this needs a GPU"
  compgen -G '/dev/nvidia[0-9]*' >/dev/null || skip "no GPU: there is no /dev/nvidia0"
}
need_built() { [[ -x $build/$1 ]] || skip "no $build/$1: the stage build comes first"; }

stage_build() {
  local options=(-DCMAKE_BUILD_TYPE=Release -DRELUME_MINIMAL=ON) targets=(relume device_bench stage1_bench) capability
  if on_gpu; then
    command -v nvcc >/dev/null || skip "no nvcc on the PATH or in /usr/local/cuda/bin"
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .) || true
    options+=(-DRELUME_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="${capability:-native}")
    targets+=(cuda_test cuda_models_test kernel_resources_test)
  else
    options+=(-DRELUME_CUDA=OFF)
    targets+=(autograd_test)
  fi
  if [[ -d $root/third_party/usr ]]; then  # Debian's folders, which CMake finds elsewhere when it is told their name
    options+=(-DCMAKE_PREFIX_PATH="$root/third_party/usr" -DCMAKE_LIBRARY_ARCHITECTURE=x86_64-linux-gnu)
  fi
  local more=()
  read -r -a more <<<"${RELUME_CMAKE_ARGS:-}"
  limited cmake -S "$root" -B "$build" -G Ninja "${options[@]}" "${more[@]}"
  if grep -q cuda_dist_test "$build/build.ninja"; then targets+=(cuda_dist_test); fi
  limited ninja -C "$build" "${targets[@]}"
  if on_gpu; then limited "$build/tests/cuda/kernel_resources_test"; fi
  note "${targets[*]}"
}

stage_ops() {
  local sums passed skipped
  if on_gpu; then
    need_gpu
    need_built tests/cuda/cuda_test
    limited "$build/tests/cuda/cuda_test" --gtest_brief=1
    limited "$build/tests/cuda/cuda_models_test" --gtest_brief=1
    if [[ -x $build/tests/cuda/cuda_dist_test ]]; then
      limited "$build/tests/cuda/cuda_dist_test" --gtest_brief=1
    else
      echo "NCCL was not found: its communicator is not tested"
    fi
  else
    need_built tests/autograd_test
    limited "$build/tests/autograd_test" --gtest_brief=1 --gtest_filter='*OpCases*'
  fi
  sums=$(awk '/^\[  PASSED  \]/ { passed += $4 } /^\[  SKIPPED \] [0-9]+ test/ { skipped += $4 }
    END { print passed + 0, skipped + 0 }' "$out/$stage.log")
  read -r passed skipped <<<"$sums"
  ((passed > 0)) || { echo "not one test ran: see above why they were skipped"; exit 1; }  # skips alone prove nothing
  note "$passed tests passed, $skipped skipped"
}

stage_parity() {
  if on_gpu; then need_gpu; fi
  need_built relume
  local parity=("$build/relume" parity --device "$device") folder
  local code=0
  for folder in "${parity_folders[@]}"; do limited "${parity[@]}" "$folder" || code=$?; done
  ((code == 0)) || exit "$code"
  note "$(grep -E '^[0-9]+ passed, ' "$out/$stage.log" | paste -sd ';')"
}

# check_kernels TOOL FILTER: the tests of the filter in parts, side by side; a stage that was cut off does not begin anew.
check_kernels() {
  local part parts=8 running=() code=0
  for ((part = 0; part < parts; ++part)); do
    grep -qsx "$1 $part" "$out/sanitizer.parts" && continue
    (
      export GTEST_TOTAL_SHARDS=$parts GTEST_SHARD_INDEX=$part OMP_NUM_THREADS=2
      limited compute-sanitizer --tool "$1" --error-exitcode 9 --print-limit 20 \
        "$build/tests/cuda/cuda_test" --gtest_brief=1 --gtest_filter="$2" >"$out/sanitizer.$1.$part" 2>&1
      echo "$1 $part" >>"$out/sanitizer.parts"
    ) &
    running+=($!)
  done
  for part in "${running[@]}"; do wait "$part" || code=$?; done
  cat -- "$out/sanitizer.$1".*
  ((code == 0)) || exit "$code"
}

stage_sanitizer() {
  need_gpu
  need_built tests/cuda/cuda_test
  command -v compute-sanitizer >/dev/null || skip "no compute-sanitizer: it comes with the toolkit (package cuda-sanitizer)"
  local attention='*CudaWindowAttention.Float*' cases='*CudaOpCases.Float*'
  check_kernels memcheck "$cases:$attention:CudaPictures*"
  check_kernels racecheck "${cases}norm*:${cases}attention*:${cases}sum*:$attention:CudaPictures*"
  note "memcheck and racecheck found nothing"
}

stage_bench() {
  if on_gpu; then need_gpu; fi
  need_built device_bench
  local only=()
  if ((${#quick[@]})); then only=(--filter '*/demo/*' --seconds 0.001); fi
  limited "$build/device_bench" --device "$device" --json "$out/bench.json" "${only[@]}" >"$out/bench.md"
  note "$(grep -c '^| `' "$out/bench.md") timings, $(grep -c 'refused:' "$out/bench.md" || true) refused"
}

# need_python MODULE...: an interpreter that has them, and sees the GPU where there should be one.
need_python() {
  command -v "$python" >/dev/null || skip "no $python; name an interpreter with --python"
  "$python" -c "import $(IFS=,; echo "$*")" || skip "$python cannot import all of $*"
  if on_gpu; then
    "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || skip "the PyTorch of $python sees no GPU"
  fi
}

# compare WORK PRECISION... -- OPTION...: compare_torch.py once for each precision.
compare() {
  local work=$1 precisions=() precision text texts=()
  shift
  while [[ $1 != -- ]]; do precisions+=("$1"); shift; done
  shift
  for precision in "${precisions[@]}"; do
    if [[ ! -e $out/$stage.$precision ]]; then  # else done before the stage was cut off
      limited "$python" "$root/bench/compare_torch.py" "$work" --device "$device" --precision "$precision" \
        --ours "$build/${work}_bench" --python "$python" "$@" "${quick[@]}" >"$out/$stage.txt"
      mv -- "$out/$stage.txt" "$out/$stage.$precision"
    fi
    texts+=("$out/$stage.$precision")
    { echo '```'; for text in "${texts[@]}"; do sed '$d' "$text"; done; echo '```'; } >"$out/$stage.md"
    for text in "${texts[@]}"; do tail -n 1 "$text"; done | paste -sd , | sed 's/.*/[&]/' >"$out/$stage.json"
  done
  note "$(tr -d '`|' <"$out/$stage.json")"
}

stage_compare() {
  if on_gpu; then need_gpu; fi
  need_built stage1_bench
  need_python torch spandrel safetensors
  local precisions=(f32)
  if on_gpu; then precisions=(bf16 f32); fi
  compare stage1 "${precisions[@]}" --
}

stage_refine() {
  if on_gpu; then need_gpu; fi
  [[ -x $build/stage2_bench ]] || skip "no $build/stage2_bench: a build with RELUME_MINIMAL leaves it out"
  need_python torch spandrel safetensors diffusers
  local precisions=(f32)
  if on_gpu; then precisions=(bf16 f16 f32); fi
  if [[ ! $networks ]]; then
    networks=$build/networks.safetensors
    [[ -e $networks ]] || RELUME_SOURCE_DIR=$root limited "$build/relume" init "$networks" --seed 1
  fi
  compare stage2 "${precisions[@]}" -- --networks "$networks" --runs 5
}

# ---- The report --------------------------------------------------------------------------------------------------------------

# Standard input as the inside of a JSON string.
json_text() {
  tr -d '\000-\010\013-\037' | sed 's/\\/\\\\/g; s/"/\\"/g; s/\t/\\t/g' |
    awk '{ printf "%s%s", (NR > 1 ? "\\n" : ""), $0 }'
}
kept() { [[ ! -e $out/$1 ]] || cat -- "$out/$1"; }
state_of() { [[ -e $out/$1.state ]] && cat -- "$out/$1.state" || echo "not run"; }

device_name() {
  if [[ -e $out/bench.json ]]; then
    sed -n 's/^ "device": "\(.*\)",$/\1/p' "$out/bench.json" | head -n 1
  elif on_gpu && command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1
  else
    uname -m
  fi
}

facts() {
  echo "Revision $(git -C "$root" describe --always --dirty 2>/dev/null || cat -- "$root/third_party/revision" 2>/dev/null ||
    echo unknown), $(date -u +%Y-%m-%d), $(g++ -dumpfullversion 2>/dev/null | sed 's/^/g++ /')"
  if on_gpu && command -v nvcc >/dev/null; then nvcc --version | sed -n 's/.*release \(.*\),.*/CUDA \1/p'; fi
  if on_gpu && command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv,noheader
  fi
}

write_json() {
  local name separator=''
  printf '{\n "device": "%s",\n "facts": "%s",\n "stages": {' "$(device_name | json_text)" "$(facts | json_text)"
  for name in "${all_stages[@]}"; do
    [[ $name == report ]] && continue
    printf '%s\n  "%s": {"state": "%s", "seconds": %s, "what": "%s", "figures": ' "$separator" "$name" "$(state_of "$name")" \
      "$(kept "$name.seconds" | grep . || echo null)" "$({ kept "$name.what"; kept "$name.why"; } | json_text)"
    kept "$name.json" | grep . || printf 'null'
    printf '}'
    separator=,
  done
  printf '\n }\n}\n'
}

write_markdown() {
  local name
  printf '# %s\n\n%s\n\n| stage | state | seconds | what |\n|---|---|---|---|\n' "$(device_name)" "$(facts)"
  for name in "${all_stages[@]}"; do
    [[ $name == report ]] && continue
    printf '| %s | %s | %s | %s |\n' "$name" "$(state_of "$name")" "$(kept "$name.seconds")" \
      "$({ kept "$name.what"; kept "$name.why"; } | tr '\n|' '  ')"
  done
  for name in bench compare refine; do
    [[ ! -e $out/$name.md ]] || printf '\n## %s\n\n%s\n' "$name" "$(cat -- "$out/$name.md")"
    [[ ! -e $out/$name.txt ]] || printf '\n## %s, as far as it came\n\n```\n%s\n```\n' "$name" "$(cat -- "$out/$name.txt")"
  done
}

stage_report() {
  local folder
  folder=$results/$(device_name | tr -cs 'A-Za-z0-9\n' '_' | sed 's/_*$//')
  mkdir -p -- "$folder"
  write_json >"$folder/gpu_check.json"
  write_markdown >"$folder/gpu_check.md"
  note "$folder"
}

# ---- Running -----------------------------------------------------------------------------------------------------------------

# Runs a stage unless it is done, and leaves its state, time and reason in files.
run_stage() {
  stage=$1
  if [[ $stage != report && ! $again && $(state_of "$stage") == "done" ]]; then
    say "$stage: done before"
    return
  fi
  [[ ! $again ]] || rm -f -- "$out/$stage.parts" "$out/$stage".{f32,bf16,f16}
  rm -f -- "$out/$stage".{state,seconds,what,why,md,json}
  local started=$SECONDS code state
  deadline=$((SECONDS + minutes * 60 - 10))
  set +e
  (set -e; "stage_$stage") >"$out/$stage.log" 2>&1
  code=$?
  set -e
  case $code in
    0) state="done" ;;
    77) state="skipped" ;;
    124 | 137) state="cut off"; unfinished=yes; printf 'not finished in %s minutes: call again' "$minutes" >"$out/$stage.why" ;;
    *) state="failed"; failed=yes; grep . "$out/$stage.log" | tail -n 3 >"$out/$stage.why" ;;
  esac
  printf '%s' "$state" >"$out/$stage.state"
  printf '%s' $((SECONDS - started)) >"$out/$stage.seconds"
  say "$stage: $state; $(kept "$stage.what")$(kept "$stage.why") ($out/$stage.log)"
}

if [[ $bundle ]]; then
  make_bundle
  exit
fi
mkdir -p -- "$out"
failed='' unfinished=''
for name in "${stages[@]}"; do run_stage "$name"; done
[[ ! $failed ]] || exit 1
[[ ! $unfinished ]] || exit 3
