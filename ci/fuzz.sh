#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each (default 5s).
set -euo pipefail
time=${1:-5s}
found=0
while IFS=: read -r file target; do
	found=$((found + 1))
	echo "fuzz $target in $(dirname "$file")"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$(dirname "$file")"
done < <(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's|^\./||; s|:func |:|' | sort)
if [ "$found" -eq 0 ]; then
	echo "no fuzz targets found" >&2
	exit 1
fi
echo "$found fuzz targets ran"
