#!/bin/sh
# The program reel where the environment asks for a decimal comma: it sets no locale, so nothing
# changes.
. "$(dirname "$0")/support/comma_locale.sh"
sh "$source/tests/test_cli.sh"
