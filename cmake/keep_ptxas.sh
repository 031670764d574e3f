#!/usr/bin/env bash
# keep_ptxas.sh COMPILER ARGUMENT...: compiles, and keeps what ptxas says of every kernel (-Xptxas=-v) in OBJECT.ptxas instead
# of showing it. A hit of ccache gives standard error too, so the report is there whoever compiled.
set -uo pipefail
object=
for ((i = 1; i < $#; ++i)); do
  if [[ ${!i} == -o ]]; then
    next=$((i + 1))
    object=${!next}
  fi
done
{ errors=$("$@" 2>&1 1>&3); } 3>&1
status=$?
said_of_kernels='^ptxas info *: [^(]|^ +[0-9]+ bytes stack frame'  # advice has a number, (C7510)
grep -vE "$said_of_kernels" <<<"$errors" | grep -v '^$' >&2
((status == 0)) || exit "$status"
grep -E "$said_of_kernels" <<<"$errors" >"$object.ptxas.new"
mv -- "$object.ptxas.new" "$object.ptxas"
