#!/bin/sh
# What a user gets wrong, and what disks do: a clear message on stderr, a non-zero exit, earlier
# files as they were.
set -u
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/support/shell.sh"

# ---- the command line ------------------------------------------------------------------------
fails 2 'unknown option "--bogus"' --bogus
fails 2 'unknown option "extra"' extra
fails 2 '--batch "-5": must be a whole number from 1' --batch -5
fails 2 '--batch "0"' --batch 0
fails 2 '--batch "12abc"' --batch 12abc
fails 2 '--batch "1.5"' --batch 1.5
fails 2 '--batch ""' --batch ''
fails 2 '--epochs "99999999999999999999"' --epochs 99999999999999999999
fails 2 '--lr "nan"' --lr nan
fails 2 '--lr "fast"' --lr fast
fails 2 '--lr needs a value' --lr
fails 2 '--model "alexnet": is none of resnet20' --model alexnet
fails 2 '--schedule "up"' --schedule up
fails 2 '--augment "mixup"' --augment mixup
fails 1 'no batch: 100 samples in batches of 200' --samples 100 --batch 200
run --help || fail "--help failed"
grep -q -e --checkpoint stdout || fail "--help does not list the options"

# ---- CIFAR-10 files --------------------------------------------------------------------------
fails 1 'missing' --data missing
echo text >file
fails 1 'file' --data file
mkdir empty
fails 1 'looked for' --data empty
mkdir locked
chmod 000 locked
if [ "$(id -u)" = 0 ]; then
    echo "skipped: root reads every folder"
else
    fails 1 'locked' --data locked
fi

record=3073 records=10000
mkdir cifar
for i in 1 2 3 4 5; do truncate -s $((record * records)) cifar/data_batch_$i.bin; done
truncate -s $((record * records)) cifar/test_batch.bin
truncate -s $((record * 9999 + 100)) cifar/data_batch_1.bin
fails 1 'data_batch_1.bin' --data cifar
truncate -s $((record * records + 1)) cifar/data_batch_1.bin
fails 1 'data_batch_1.bin' --data cifar
truncate -s 0 cifar/data_batch_1.bin
fails 1 'data_batch_1.bin' --data cifar
truncate -s $((record * records)) cifar/data_batch_1.bin
printf '\012' | dd of=cifar/data_batch_1.bin bs=1 seek=$((record * 1234)) conv=notrunc \
    2>/dev/null
fails 1 'data_batch_1.bin.*1234' --data cifar
rm cifar/data_batch_1.bin
fails 1 'data_batch_1.bin' --data cifar
rm -r cifar

# ---- folders of images -----------------------------------------------------------------------
png=iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAALklEQVR42u3NoREAMAzEsG9R9p82rF0iYfKZ6ySv\
qve+WQ4AAAAAAAAAAABM9QH7mSE3TkLZMQAAAABJRU5ErkJggg==
jpeg=/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDACgcHiMeGSgjISMtKygwPGRBPDc3PHtYXUlkkYCZlo+AjIqgtObDoKra\
rYqMyP/L2u71////m8H////6/+b9//j/2wBDASstLTw1PHZBQXb4pYyl+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4\
+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj/wAARCAAgACADASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAA\
BAX/xAAVEAEBAAAAAAAAAAAAAAAAAAAAA//EABcBAAMBAAAAAAAAAAAAAAAAAAIDBQT/xAAWEQEBAQAAAAAAAAAA\
AAAAAAAAAQP/2gAMAwEAAhEDEQA/AATJmNMmbZsGFTKmLMqaRsZEKZMxpkzV9i4VMqYsyppGxkf/2Q==
for class in stripes rings; do
    for part in train test; do
        mkdir -p images/$part/$class
        for i in 1 2 3 4; do
            echo $png | base64 -d >images/$part/$class/$i.png
            echo $jpeg | base64 -d >images/$part/$class/$i.jpg
        done
    done
done
tiny='--data images --model mlp --batch 4 --epochs 1'
# shellcheck disable=SC2086 # options as words
{
    if ! run $tiny; then
        grep -q 'without stb_image' stderr || fail "good images were refused"
        echo "skipped: images, since this reel was built without stb_image"
    else
        # A corrupt one among good ones is named; or named, counted and left out.
        corrupt()
        {
            fails 1 "$1" $tiny
            run $tiny --skip-corrupt || fail "$1 was not left out"
            grep -q "$1" stderr || fail "$1 was left out, but not named"
            grep -q '^1 corrupt image' stdout || fail "$1 was left out, but not counted"
            rm "images/$1"
        }
        head -c 90 images/train/rings/1.png >images/train/rings/cut.png
        corrupt train/rings/cut.png
        head -c 200 images/train/rings/1.jpg >images/train/rings/cut.jpg
        corrupt train/rings/cut.jpg
        : >images/test/stripes/nothing.jpg
        corrupt test/stripes/nothing.jpg
        echo 'no picture' >images/train/rings/text.png
        corrupt train/rings/text.png
        cp images/train/rings/1.png images/train/rings/flipped.png
        printf '\377' | dd of=images/train/rings/flipped.png bs=1 seek=60 conv=notrunc \
            2>/dev/null
        corrupt train/rings/flipped.png
    fi
}

# ---- places to write -------------------------------------------------------------------------
drawn='--samples 40 --model mlp --batch 8 --epochs 1'
# shellcheck disable=SC2086 # options as words
{
    fails 1 'file' $drawn --out file/below
    fails 1 'nowhere/log.csv' $drawn --log nowhere/log.csv
    fails 1 'nowhere/run.ckpt' $drawn --checkpoint nowhere/run.ckpt
    ! grep -q epoch stderr || fail "it found out only after training"

    # A disk that is full: the checkpoint and the pictures of before stay whole.
    mkdir disk
    full()
    {
        run $drawn --checkpoint disk/run.ckpt --out disk || fail "the first run failed"
        for f in run.ckpt mlp.safetensors curves.svg; do cp disk/$f before_$f; done
        "$@"
        for f in run.ckpt mlp.safetensors curves.svg; do
            same disk/$f before_$f "an earlier file, after the disk was full"
        done
        [ "$(find disk -name '*tmp*' | wc -l)" = 0 ] || fail "a temporary file is left"
    }
    fill()
    {
        dd if=/dev/zero of=disk/ballast bs=4096 2>/dev/null
        fails 1 'run.ckpt' $drawn --seed 2 --checkpoint disk/run.ckpt --out disk
        fails 1 'disk/' $drawn --seed 2 --out disk
    }
    limit() # files above 1,000 blocks fail with EFBIG instead of the signal
    {
        (
            trap '' XFSZ
            ulimit -f 1000
            fails 1 'run.ckpt' $drawn --seed 2 --checkpoint disk/run.ckpt --out disk
        ) || exit 1
    }
    full limit
    if mount -t tmpfs -o size=64m tmpfs disk 2>/dev/null; then
        trap 'umount "$folder/disk"; cd /; rm -rf "$folder"' EXIT
        full fill
    else
        echo "skipped: no right to mount a small disk"
    fi
}
