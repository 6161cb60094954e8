#!/usr/bin/env bash
# Trains the segmenter of hair on a rented GPU machine (Ubuntu 22.04 with NVIDIA's driver), from nothing to exported files,
# and stops the machine. Whatever fails, it is stopped and the cost is said: a machine that nobody uses is what costs most.
# Start it in tmux or with nohup: a connection that breaks would end it.
set -euo pipefail

mode=dag data=auto format=folder experiment="" device=cuda repository="" directory=visage out=results
price_per_hour="" max_hours=4 stop_command="" keep=false dry_run=false
overrides=()

usage() {
    cat <<'HELP'
usage: train_hair_segmentation.sh [options]

  --mode dag|notebooks      run the pipeline's stages, or the notebooks without a person (default: dag)
  --data SOURCE             auto: dvc pull where a remote is set, else drawn people (default); drawn: always those;
                            pull: dvc pull, a remote is needed; or a folder of pictures with masks
  --format NAME             of that folder: folder, khairstyle, celebamask, figaro or lfw_parts (default: folder)
  --experiment NAME         a preset of conf/experiment/, such as hair_robust
  --set KEY=VALUE           any other override, such as segmenter.epochs=20; may be repeated
  --device cuda|cpu         (default: cuda)
  --repository URL          cloned where the script does not lie in a clone already
  --directory FOLDER        where to (default: visage)
  --out FOLDER              gets the exported model, metrics and notebooks as one archive (default: results)
  --price-per-hour PRICE    of the machine, for an estimate before and the cost after
  --max-hours HOURS         so long after the start the training is ended; the same command continues from what it
                            saved, where the disk outlives the machine (default: 4)
  --stop-command COMMAND    stops the machine, such as 'sudo shutdown -h now'; run at the end and after a failure
  --keep                    do not run it
  --dry-run                 print every step and do nothing
  --help                    this text
HELP
}

refuse() { # one line, as every command of the project says it
    echo "error: $1" >&2
    exit 2
}

one_of() { # OPTION VALUE CHOICE...
    local option=$1 value=$2 choice
    shift 2
    for choice in "$@"; do [[ $value == "$choice" ]] && return; done
    refuse "$option $value: choose one of $*"
}

number() { # OPTION VALUE
    [[ $2 =~ ^[0-9]+(\.[0-9]+)?$ ]] || refuse "$1 $2: it must be a number, such as 0.80"
}

while (($#)); do
    case $1 in
        --keep) keep=true ;;
        --dry-run) dry_run=true ;;
        --help | -h) usage && exit ;;
        --mode | --data | --format | --experiment | --set | --device | --repository | --directory | --out | \
            --price-per-hour | --max-hours | --stop-command)
            [[ -n ${2:-} ]] || refuse "$1 needs a value"
            case $1 in
                --set) overrides+=("$2") ;;
                *)
                    name=${1#--}
                    printf -v "${name//-/_}" %s "$2"
                    ;;
            esac
            shift
            ;;
        *) refuse "no option $1: see --help" ;;
    esac
    shift
done
one_of --mode "$mode" dag notebooks
one_of --format "$format" folder khairstyle celebamask figaro lfw_parts
one_of --device "$device" cuda cpu
[[ -z $price_per_hour ]] || number --price-per-hour "$price_per_hour"
number --max-hours "$max_hours"
awk "BEGIN {exit !($max_hours > 0)}" || refuse "--max-hours $max_hours: it must be above 0"
for override in ${overrides[@]+"${overrides[@]}"}; do
    [[ $override == *=* ]] || refuse "--set $override: it must be KEY=VALUE, such as segmenter.epochs=20"
done
case $data in
    auto | drawn | pull) ;;
    *)
        [[ -d $data ]] || refuse "--data $data: no such folder, and none of auto, drawn, pull"
        data=$(cd "$data" && pwd)
        ;;
esac
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ -f $here/dvc.yaml ]]; then
    directory=$here
elif [[ -z $repository && ! -f $directory/dvc.yaml ]]; then
    refuse "no repository here: give its address with --repository"
fi
[[ $out == /* ]] || out=$PWD/$out
[[ $directory == /* ]] || directory=$PWD/$directory

cost_of() { # WORDS SECONDS: nothing where the price is not known
    [[ -z $price_per_hour ]] || awk "BEGIN {printf \"$1 %.2f at $price_per_hour an hour\", $2 / 3600 * $price_per_hour}"
}

tell() { # COMMAND WORD...
    printf '+'
    printf ' %q' "$@"
    printf '\n'
}

run() { # COMMAND WORD...
    tell "$@"
    $dry_run || "$@"
}

finish() { # EXIT_CODE
    trap - EXIT
    local minutes=$(((SECONDS + 30) / 60))
    $dry_run || echo "== ended with exit code $1 after $minutes minutes$(cost_of ": about" "$SECONDS")"
    if [[ -n $stop_command ]] && ! $keep; then
        echo "== stop the machine"
        run bash -c "$stop_command" || echo "error: the stop command failed: stop the machine by hand" >&2
    elif [[ -n $stop_command ]]; then
        echo "== the machine is kept: stop it by hand"
    fi
    exit "$1"
}
trap 'finish $?' EXIT
interrupt() {
    if [[ -n $child ]]; then
        kill "$child" && wait "$child" || true
    fi
    exit 130
}
child=""
trap interrupt HUP INT TERM

has() { # COMMAND...
    local name
    for name in "$@"; do command -v "$name" >/dev/null || return 1; done
}

system_packages() {
    local root=()
    ((EUID == 0)) || root=(sudo)
    # Ubuntu 22.04 has Python 3.10 by itself; OpenGL's libraries are for mediapipe.
    run ${root[@]+"${root[@]}"} apt-get update --quiet
    run ${root[@]+"${root[@]}"} apt-get install --yes --quiet git make python3.11 python3.11-venv libgl1 libegl1 libgles2
}

pull() {
    if $dry_run; then
        echo "+ dvc pull --allow-missing   (where a remote is set)"
    elif [[ -n $(dvc remote list) ]]; then
        run dvc pull --allow-missing
    elif [[ $data == pull ]]; then
        echo "error: --data pull: no DVC remote is set (dvc remote add -d NAME URL)" >&2
        return 2
    else
        echo "no DVC remote is set: the people are drawn"
    fi
}

push() {
    if $dry_run; then
        echo "+ dvc push   (where a remote is set)"
    elif [[ -n $(dvc remote list) ]]; then
        run dvc push
    fi
}

link() { # the folder where the pipeline looks for it
    local place=data/raw/hair
    if [[ -e $place && ! -L $place && ! $place -ef $data ]]; then
        echo "error: $directory/$place is there and is no link: move it away, or name it with --data" >&2
        return 2
    fi
    run mkdir -p data/raw
    [[ $place -ef $data ]] || run ln -sfn "$data" "$place"
}

limited() { # COMMAND WORD...: until the hours are over
    local minutes
    minutes=$(awk "BEGIN {left = int($max_hours * 60 - $SECONDS / 60 + 0.999); print (left < 1 ? 1 : left)}")
    set -- timeout --kill-after=120 "${minutes}m" "$@"
    tell "$@"
    $dry_run && return
    # In the background: bash hears a signal at once only while it waits.
    "$@" &
    child=$!
    wait "$child"
    child=""
}

notebook() { # NAME PARAMETER VALUE...
    local name=$1 words=()
    shift
    while (($#)); do words+=(-p "$1" "$2") && shift 2; done
    limited papermill --cwd . "notebooks/$name.ipynb" "artifacts/notebooks/$name.ipynb" ${words[@]+"${words[@]}"}
}

echo "== at most $max_hours hours$(cost_of ":" "$(awk "BEGIN {print $max_hours * 3600}")")"

echo "== system"
if $dry_run || ! has git make python3.11; then system_packages; fi
[[ $device == cpu ]] || run nvidia-smi

echo "== repository and environment"
[[ -f $directory/dvc.yaml ]] || run git clone --quiet "$repository" "$directory"
run cd "$directory"
run make setup PYTHON=python3.11
export PATH=$directory/.venv/bin:$PATH PYTHONPATH=src

echo "== data"
settings=("runtime=$device")
[[ -z $experiment ]] || settings+=("experiment=$experiment")
case $data in
    drawn) ;;
    auto | pull) pull ;;
    *)
        link
        settings+=("hair/data=$format" hair.data.root=data/raw/hair)
        ;;
esac
run visage compose "${settings[@]}" ${overrides[@]+"${overrides[@]}"}

echo "== training"
if [[ $mode == dag ]]; then
    limited dvc repro evaluate_hair
else
    limited dvc repro extract_patches
    run mkdir -p artifacts/notebooks
    notebook 04_finetune_hair device "$device"
    notebook 05_seg_patch_from_features device "$device"
fi

echo "== export"
run mkdir -p "$out"
if [[ $mode == dag ]]; then
    run dvc repro export_hair
    run tar -czf "$out/hair.tar.gz" artifacts/models/hair metrics/train_hair_segmenter.json metrics/evaluate_hair.json
    push
else
    notebook 06_eval_export trained artifacts/notebooks/finetune_hair/model
    run tar -czf "$out/hair.tar.gz" artifacts/notebooks
fi
