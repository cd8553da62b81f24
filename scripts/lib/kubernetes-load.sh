# shellcheck shell=bash
# Clients that try again, for the test in which a node dies. Sourced by scripts/lib/kubernetes-test.sh.

# For shellcheck's sake: set by scripts/kubernetes.
: "${state=}"

# A refused connection is no more than a try, so that there are many in the time in which nobody serves.
readonly clients=4 most_tries=1500

# Begins to ask the service at this address, from the node that lives: load_begins ADDRESS.
load_begins() {
    local client
    rm -rf "$state/load"
    mkdir "$state/load"
    : >"$state/load/goes-on"
    for ((client = 1; client <= clients; client++)); do
        be_client "$client" "$1" >"$state/load/$client.txt" 2>"$state/load/$client.log" &
    done
}

load_ends() {
    rm "$state/load/goes-on"
    wait
}

# One after the other: puts a value, and reads it back. Prints a line for each request: whether it was answered, the
# tries, the milliseconds.
be_client() {
    local number=0 key
    while [[ -f $state/load/goes-on ]]; do
        number=$((number + 1))
        key=client-$1-$number
        request "$2/$key" '20[14]' '' -X PUT -d "value of $key"
        request "$2/$key" 200 "value of $key"
    done
}

# request URL STATUS BODY CURL_ARGUMENTS...: until the right answer comes. Another answer than those of a server that
# has trouble (5xx) is final. One that ends before its length is none: a server that dies has sent its head, perhaps.
request() {
    local url=$1 status=$2 body=$3 tries answer code result began=${EPOCHREALTIME/./}
    shift 3
    for ((tries = 1; tries <= most_tries; tries++)); do
        result=0
        answer=$(inside node1 curl --silent --max-time 3 --write-out '\n%{http_code}' "$@" "http://$url") || result=$?
        code=${answer##*$'\n'}
        # shellcheck disable=SC2053 # The status is a pattern.
        if ((result != 0)); then
            echo "$url: curl failed with $result, after the status $code" >&2
        elif [[ $code == $status && ${answer%$'\n'*} == "$body" ]]; then
            echo "answered $tries $(((${EPOCHREALTIME/./} - began) / 1000))"
            return
        elif [[ $code != 5* ]]; then
            echo "wrong $tries 0"
            echo "$url: $answer" >&2
            return
        fi
        sleep 0.2
    done
    echo "unanswered $tries 0"
}

# load_count PATTERN: how many of the lines match.
load_count() { cat "$state"/load/*.txt | grep -c "$1" || true; }
load_summary() {
    cat "$state"/load/*.txt | awk '
        { count++ } $1 == "answered" { good++ } $2 > 1 { again++ } $3 > longest { longest = $3 }
        END {
            printf "of %d requests %d were answered rightly, ", count, good
            printf "%d after more than one try, the slowest in %.1f s", again, longest / 1000
        }'
}
load_was_answered() { (($(load_count ^answered) > 50 && $(load_count "^[^a]") == 0)); }
