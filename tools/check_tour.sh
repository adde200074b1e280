#!/bin/sh
# Can a reader who has not seen the code find his way with docs/tour.md? Its last part asks where
# things are. For each row of that table: the file is there, the words that answer stand in it,
# and the walk above the table names the file (or a pattern such as `cpu/ref/` for its folder).
set -u
cd "$(dirname "$0")/.." || exit 2
tour=docs/tour.md
walk=$(awk '/^## Where would you look/ { exit } { print }' "$tour")
bad=0 rows=0

wrong()
{
    echo "check_tour: $1" >&2
    bad=1
}

# Each path in the walk is there: in backticks, with a folder and an ending.
for path in $(printf '%s\n' "$walk" | grep -oE '`[a-z_0-9]+(/[a-z_0-9]+)+\.(c|h|def|sh)`' | tr -d '`' | sort -u); do
    [ -f "$path" ] || [ -f "src/$path" ] || [ -f "src/backend/$path" ] || [ -f "src/trace/$path" ] ||
        wrong "the walk names $path, which is not there"
done

while IFS='|' read -r _ question file words _; do
    case $file in *'`'*) ;; *) continue ;; esac
    file=$(printf '%s' "$file" | tr -d '` ')
    words=$(printf '%s' "$words" | sed 's/^ *`//; s/` *$//')
    rows=$((rows + 1))
    [ -f "$file" ] || { wrong "$question: there is no $file"; continue; }
    grep -qF -- "$words" "$file" || wrong "$question: $file does not hold \"$words\""
    printf '%s\n' "$walk" | grep -qF -- "$(basename "$file")" ||
        wrong "$question: the walk does not name $(basename "$file")"
done <<END
$(awk '/^## Where would you look/ { on = 1 } on && /^\|/' "$tour")
END

[ "$rows" -ge 10 ] || wrong "$rows questions, expected 10 or more"
exit "$bad"
