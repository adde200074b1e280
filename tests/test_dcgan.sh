#!/bin/sh
# examples/dcgan.c: neither net wins, what is drawn comes to have the contrast of the images, and
# an interrupted run ends with the same bits.
set -u
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/support/shell.sh"
program=$REEL_BINARY_DIR/examples/dcgan

run 80 whole.ckpt || fail "dcgan failed"
cp stdout whole.txt
awk '{
        for (i = 1; i < NF; i++) is[$i] = $(i + 1)
        if ($0 ~ /nan|inf/) exit bad = 1
        n++
    }
    function within(x, low, high) { return x > low && x < high }
    END {
        good = n == 4 && within(is["d"], 0.7, 1.6) && within(is["g"], 0.4, 2)
        good = good && within(is["r1"], 0, 1)
        exit bad || !(good && within(is["contrast"] / is["of"], 0.7, 1.4))
    }' whole.txt || fail "it did not learn: $(cat whole.txt)"
run 37 parts.ckpt || fail "dcgan failed"
run 80 parts.ckpt || fail "dcgan did not go on"
same parts.ckpt whole.ckpt 'interrupted after 37 steps'
fails 2 'STEPS FILE'
echo "ok: $(tail -1 whole.txt)"
