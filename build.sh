#!/bin/sh
# build.sh - the front door: builds, runs, tests and installs netdaemon.
#
# Happy path: look which packages the command needs (tools/packages.txt), install those missing,
# set up a folder under build/ with meson, build it with ninja, run what was asked.
# Failure modes: packages missing and no right to install them: the exact command is named, exit 1.
# Usage errors: exit 2. A test row that cannot be built counts as a failed test. POSIX sh.
set -eu

here=$PWD
root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
build=$root/build
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
install=yes
all_rows='main asan tsan clang generic valgrind lint'

usage() {
	cat <<'END'
usage: ./build.sh [--no-install] COMMAND [ARGUMENT...]

  build                 build the library and the examples into build/
  run [ARGUMENT...]     build, then start the example server (a calculator)
  test [ROW...]         run the tests: every row, or only those named
       --quick          the rows main and lint
  lint                  the house rules (also a row of test)
  bench [ARGUMENT...]   build for speed, then run the benchmarks
  coverage              run the tests, say which lines and branches they reach
  fuzz [SECONDS]        run each fuzz target for that long (60)
  install [--prefix DIR] [--destdir DIR]
                        install library, headers and manual pages (/usr/local)
  install --perl [--prefix DIR] [--destdir DIR]
                        install Net::Daemon for Perl, and nothing else: where this
                        Perl looks first, or below DIR/lib/perl5
  clean                 remove build/
  help                  this text

  --no-install          never install packages; say which seem to be missing and go on

rows of test:
END
	for name in $all_rows; do
		describe "$name"
		printf '  %-10s %s\n' "$name" "$about"
	done
}

say() {
	printf 'build.sh: %s\n' "$*" >&2
}

die() {
	say "$@"
	exit 1
}

misused() {
	say "$@"
	usage >&2
	exit 2
}

# ------------------------------------------------------------------------------------- packages

# listed SECTION...: the packages of these sections of the list, one a line
listed() {
	section=
	while read -r word _; do
		case $word in
		'' | '#'*) ;;
		'['*) section=${word#?} section=${section%?} ;;
		*) case " $* " in *" $section "*) printf '%s\n' "$word" ;; esac ;;
		esac
	done <"$root/tools/packages.txt"
}

# missing SECTION...: those of them that are not installed, each with a blank before it
missing() {
	for package in $(listed "$@"); do
		state=$(dpkg-query -W -f ' ${db:Status-Status} ' "$package" 2>/dev/null) || state=
		case $seen$state in
		*" $package "* | *' installed '*) ;;
		*) printf ' %s' "$package" ;;
		esac
		seen="$seen $package "
	done
}

# need SECTION...: have the packages of these sections
need() {
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		[ "$install" = no ] && return 0
		say "this system has no apt; install what these Debian packages hold," \
			"then run ./build.sh --no-install:"
		die "$(listed "$@" | tr '\n' ' ')"
	fi
	seen=
	wanted=$(missing "$@")
	[ -n "$wanted" ] || return 0
	if [ "$install" = no ]; then
		say "not installed:$wanted; going on without (--no-install)"
		return 0
	fi
	as_root=
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null || die "some packages are missing, and it takes root to" \
			"install them: apt-get install -y --no-install-recommends$wanted"
		as_root=sudo
		[ -t 0 ] || as_root='sudo -n'
	fi
	say "installing:$wanted"
	# shellcheck disable=SC2086 # lists of words
	if ! { $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
		$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
			--no-install-recommends $wanted; } >&2; then
		die "could not be installed:$wanted; try:" \
			"apt-get install -y --no-install-recommends$wanted"
	fi
}

# ---------------------------------------------------------------------------------------- building

# configure FOLDER OPTION...: meson setup, done again when place, compiler or options have changed
configure() {
	folder=$1
	shift
	may_write "$folder" ||
		die "$folder cannot be written to: build as its owner, or a copy of the sources"
	stamp="$root|${CC-}|${CFLAGS-}|${LDFLAGS-}|$*"
	if [ -f "$folder/build.ninja" ]; then
		# Without our stamp it is somebody's own: use it as it is.
		[ -f "$folder/.setup" ] || return 0
		[ "$(cat "$folder/.setup")" != "$stamp" ] || return 0
	fi
	mkdir -p "$folder"
	rm -rf "$folder/build.ninja" "$folder/meson-private" "$folder/meson-info" "$folder/.setup"
	meson setup "$@" "$folder" "$root" >"$folder/setup.log" 2>&1 || {
		cat "$folder/setup.log" >&2
		return 1
	}
	printf '%s\n' "$stamp" >"$folder/.setup"
}

# compile FOLDER: quiet when it works, the compiler's words when it does not
compile() {
	if [ -t 1 ]; then
		ninja -C "$1" -j "$jobs"
		return
	fi
	ninja -C "$1" -j "$jobs" -k 0 >"$1/ninja.log" 2>&1 || {
		tail -n 100 "$1/ninja.log" >&2
		return 1
	}
}

build_default() {
	configure "$build" -Dtests=disabled -Dperl=disabled ||
		die "meson setup failed: see $build/setup.log"
	compile "$build" || die "the build failed"
}

cmd_build() {
	[ $# -eq 0 ] || misused "build takes no argument: '$1'"
	need build
	build_default
	say "built in $build"
}

cmd_run() {
	need build run
	build_default
	port=2000 before=
	for argument in "$@"; do
		case $before$argument in
		--localport=*) port=${argument#*=} ;;
		--localport[!=]*) port=$argument ;;
		esac
		before=
		[ "$argument" != --localport ] || before=--localport
	done
	where="port $port"
	case $port in
	0) where='the port named by "listening on" below' port=PORT ;;
	esac
	cat <<END
The calculator answers on $where; Ctrl-C ends it. Try in another terminal:

    printf '1+2*3\\n' | nc -N localhost $port

END
	cd "$here"
	exec "$build/examples/calculator" --logfile STDERR "$@"
}

# ------------------------------------------------------------------------------------------- tests

# describe ROW: what this row is. folder: where it is built; setup: options for meson setup; tests:
# options for meson test; environment: NAME=VALUE words for both; log: what it leaves to be counted.
describe() {
	folder=$build/$1 setup='--werror -Dtests=enabled -Dyaml=enabled -Dperl=disabled' tests='' environment='CC=gcc'
	log=$build/$1/meson-logs/testlog.json
	case $1 in
	main | valgrind | lint) setup="$setup -Dperl=enabled" ;; # they share a folder; the later wins
	esac
	case $1 in
	main) about='gcc, every suite, Net::Daemon for Perl' ;;
	asan)
		about='the suites under AddressSanitizer and UndefinedBehaviorSanitizer'
		setup="$setup -Db_sanitize=address,undefined"
		tests='--no-suite abi --no-suite front --no-suite slow -t 3'
		# The same code serves the modes left out, in other numbers of processes.
		environment="$environment MODES=single,fork,threads,fibers,fibers-epoll,childs-fork,childs-fibers"
		environment="$environment TEST_PATIENCE=45 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
			ASAN_OPTIONS=abort_on_error=1:detect_stack_use_after_return=1:strict_string_checks=1"
		;;
	tsan)
		about='the suites unit and modes under ThreadSanitizer'
		setup="$setup -Db_sanitize=thread"
		# Its runtime may hold back a signal for ever in a forked process, and has a thread of
		# its own: worker processes, and tests that count threads or system calls, belong to the
		# other rows.
		tests='--suite unit --suite modes --suite corpus --suite threaded -t 4'
		environment="$environment MODES=single,fork,threads,fibers,fibers-epoll,fibers-poll SIGNALS_HELD=1 TEST_PATIENCE=60 TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1"
		;;
	clang)
		about='everything built by clang, the unit tests run'
		tests='--suite unit'
		environment='CC=clang'
		;;
	generic)
		about='the portable system layer: the suites unit and modes'
		setup="$setup -Dgeneric=true"
		tests='--suite unit --suite modes'
		environment="$environment MODES=single,fork,threads,fibers,childs-threads,childs-fibers" # no epoll
		;;
	valgrind)
		about='the unit tests under valgrind'
		folder=$build/main log=$build/main/meson-logs/testlog-valgrind.json
		tests='--suite unit -t 10'
		# valgrind keeps descriptors for itself: a test that closes or limits all of them skips.
		environment="$environment VALGRIND=yes"
		;;
	lint)
		about='the house rules, each with a proof that it can fail'
		folder=$build/main log=$build/lint.tap
		;;
	*) return 1 ;;
	esac
}

# TSan's memory map does not fit the address randomisation of new kernels: switch it off if we may.
plain_addresses() {
	if setarch "$(uname -m)" -R true 2>/dev/null; then
		setarch "$(uname -m)" -R "$@"
	else
		"$@"
	fi
}

# run_row ROW: build it and run it, in a subshell
run_row() {
	describe "$1"
	rm -f "$log"
	for setting in $environment; do
		export "${setting?}"
	done
	# shellcheck disable=SC2086 # words
	configure "$folder" $setup || return 1
	[ "$1" = lint ] || compile "$folder" || return 1
	row=$1
	# Whatever starts us may ignore signals (nohup ignores HUP), which every program here would inherit.
	# Whole programs wait most of the time: twice as many tests at once as there are processors.
	case $row in
	main | asan | tsan | generic) at_once=$((2 * jobs)) ;;
	*) at_once=$jobs ;;
	esac
	set -- env --default-signal meson test -C "$folder" --no-rebuild --print-errorlogs \
		--num-processes "$at_once"
	# shellcheck disable=SC2086 # words
	case $row in
	lint) python3 "$root/tools/lint.py" --build "$folder" --jobs "$jobs" --tap "$log" ;;
	tsan) plain_addresses "$@" $tests ;;
	# Leaks are the address sanitizer's part: children of tests end with memory in use on purpose.
	# It runs one thread at a time: fairly, or one that only spins may starve those it waits for.
	valgrind) "$@" $tests --wrapper 'valgrind -q --fair-sched=yes --error-exitcode=99 --leak-check=no' ;;
	*) "$@" $tests ;;
	esac
}

# run_rows ROW...: all of them, then the count; the count is the last line
run_rows() {
	mkdir -p "$build"
	: >"$build/results"
	for name in "$@"; do
		describe "$name"
		printf '== %s: %s\n' "$name" "$about"
		started=$(date +%s) status=0
		(run_row "$name") </dev/null || status=$?
		printf '== %s: exit status %d after %d s\n' "$name" "$status" \
			$(($(date +%s) - started))
		printf '%s %d %s\n' "$name" "$status" "$log" >>"$build/results"
	done
	python3 "$root/tools/count_tests.py" "$build/results"
}

cmd_test() {
	rows=
	for argument in "$@"; do
		case $argument in
		--quick) rows="$rows main lint" ;;
		-*) misused "test has no option '$argument'" ;;
		*)
			describe "$argument" || misused "there is no row '$argument'"
			rows="$rows $argument"
			;;
		esac
	done
	need build test lint perl
	# shellcheck disable=SC2086 # a list of words
	run_rows ${rows:-$all_rows}
}

cmd_lint() {
	[ $# -eq 0 ] || misused "lint takes no argument: '$1'"
	need build test lint perl
	run_rows lint
}

cmd_coverage() {
	[ $# -eq 0 ] || misused "coverage takes no argument: '$1'"
	need build test coverage
	folder=$build/coverage
	umask 0 # processes that have become somebody else write their counters, too
	configure "$folder" --buildtype=debug -Db_coverage=true -Dtests=enabled \
		-Dperl=disabled || die "meson setup failed"
	compile "$folder" || die "the build failed"
	find "$folder" -name '*.gcda' -exec rm -f {} +
	# The counters themselves disturb tests that watch system calls, or lock the process away.
	GCOV_ERROR_FILE=$folder/gcov.log meson test -C "$folder" --no-rebuild --print-errorlogs \
		--no-suite abi --no-suite front -t 2 ||
		say "some tests failed in this build; the judge is ./build.sh test"
	cd "$root"
	echo '== branches of src/access and src/proc'
	gcovr --root . --object-directory build/coverage --filter src/access/ --filter src/proc/ \
		--branches --print-summary
	echo '== lines of src/'
	gcovr --root . --object-directory build/coverage --filter src/ --print-summary \
		--fail-under-line 90 || die "fewer than 90 % of the lines of src/ are reached"
}

cmd_fuzz() {
	seconds=${1-60}
	case $seconds in
	'' | *[!0-9]*) misused "fuzz takes a number of seconds: '$seconds'" ;;
	esac
	need build fuzz
	folder=$build/fuzz
	export CC=clang
	configure "$folder" -Dtests=disabled -Dperl=disabled -Dfuzz=true || die "meson setup failed"
	compile "$folder" || die "the build failed"
	ran=0
	for program in "$folder"/fuzz/fuzz_*; do
		if [ -d "$program" ] || [ ! -x "$program" ]; then
			continue
		fi
		name=${program##*/}
		corpus=$folder/corpus/$name
		mkdir -p "$corpus"
		seeds=$root/fuzz/corpus/${name#fuzz_}
		[ ! -d "$seeds" ] || cp -R "$seeds/." "$corpus"
		echo "== $name: $seconds s"
		"$program" -max_total_time="$seconds" -timeout=10 -print_final_stats=1 \
			-artifact_prefix="$corpus.crash-" "$corpus" >"$corpus.log" 2>&1 || {
			tail -n 60 "$corpus.log" >&2
			die "$name found something: see $corpus.crash-*"
		}
		grep -E '^stat::(number_of_executed_units|new_units_added)' "$corpus.log" || true
		ran=$((ran + 1))
	done
	[ "$ran" -gt 0 ] || die "there is no fuzz target"
}

# ------------------------------------------------------------------------------- bench, install

cmd_bench() {
	need build bench
	folder=$build/bench
	configure "$folder" --buildtype=release -Dtests=disabled -Dperl=disabled -Dbench=true ||
		die "meson setup failed"
	compile "$folder" || die "the build failed"
	cd "$here"
	exec python3 "$root/bench/run.py" --build "$folder" "$@"
}

# may_write DIR: can files be made in it, or in the nearest parent that exists?
may_write() {
	place=$1
	while [ ! -e "$place" ]; do
		place=$(dirname -- "$place")
	done
	[ -w "$place" ]
}

# perl_says VARIABLE: how the Perl on the PATH is configured
perl_says() {
	perl -MConfig -e 'print $Config{shift()} // ""' "$1"
}

# install_perl PREFIX DESTDIR: the module alone: what it needs of the library it holds
install_perl() {
	need perl
	command -v perl >/dev/null || die "there is no perl on the PATH"
	base=$1 place=$1 dest=$2
	packlist=$1/lib/perl5/$(perl_says archname)/auto/Net/Daemon/Core/.packlist
	if [ -z "$base" ] || [ "$base" = "$(perl_says siteprefixexp)" ]; then
		base='' place=$(perl_says installsitearch)
		packlist=$place/auto/Net/Daemon/Core/.packlist
	fi
	case $dest$place in
	*[[:space:]]*) die "Perl's tools take no folder with blanks in its name: '$dest$place'" ;;
	esac
	may_write "$dest$place" ||
		die "$dest$place cannot be written to: run this as root, or choose another --prefix"
	folder=$build/install-perl
	mkdir -p "$build"
	{
		"$root/tools/build_perl.sh" "$folder" ${base:+"INSTALL_BASE=$base"} &&
			make -s -C "$folder" pure_install ${dest:+"DESTDIR=$dest"}
	} >"$folder.log" 2>&1 || {
		tail -n 50 "$folder.log" >&2
		die "the installation of the Perl module failed"
	}
	if [ -n "$dest" ]; then
		# The names as they will be, where what is in DESTDIR has been put in its place.
		perl -pi -e 'BEGIN { $dest = shift } s{\A\Q$dest\E/*}{/}' "$dest" "$dest$packlist"
		printf 'Net::Daemon for Perl is in %s; a list of its files is %s\n' "$dest" "$dest$packlist"
		return
	fi
	if [ -n "$base" ]; then
		export PERL5LIB="$base/lib/perl5"
		printf 'For programs to find it: export PERL5LIB=%s\n\n' "$PERL5LIB"
	fi
	cat <<END
Net::Daemon for Perl is installed. What programs get that ask for it is now

    $(perl -MNet::Daemon -e 'print "$INC{q(Net/Daemon.pm)}, version $Net::Daemon::VERSION"')

Servers that run keep what they have until they are started again. To go back:

    xargs rm -f <$packlist
END
}

cmd_install() {
	prefix='' destdir='' perl=no
	while [ $# -gt 0 ]; do
		case $1 in
		--perl) perl=yes ;;
		--prefix=*) prefix=${1#*=} ;;
		--destdir=*) destdir=${1#*=} ;;
		--prefix | --destdir)
			[ $# -gt 1 ] || misused "$1 needs a folder"
			[ "$1" = --prefix ] && prefix=$2 || destdir=$2
			shift
			;;
		*) misused "install has no argument '$1'" ;;
		esac
		shift
	done
	case $prefix in
	'' | /*) ;;
	*) prefix=$here/$prefix ;;
	esac
	case $destdir in
	'' | /*) ;;
	*) destdir=$here/$destdir ;;
	esac
	if [ "$perl" = yes ]; then
		install_perl "$prefix" "$destdir"
		return
	fi
	prefix=${prefix:-/usr/local}
	may_write "$destdir$prefix" ||
		die "$destdir$prefix cannot be written to: run this as root, or choose another --prefix"
	need build
	# lib, not what meson guesses (lib64 on a Debian without dpkg-dev): where pkg-config, and the
	# linker for /usr/local, look.
	configure "$build/install" -Dtests=disabled -Dperl=disabled --prefix "$prefix" --libdir lib ||
		die "meson setup failed"
	compile "$build/install" || die "the build failed"
	DESTDIR=$destdir meson install -C "$build/install" --no-rebuild --quiet ||
		die "the installation failed"
	[ -n "$destdir" ] && return 0
	[ "$(id -u)" -ne 0 ] || ldconfig || say "ldconfig failed: the library may not be found"
	folder=$(find "$prefix" -name netdaemon.pc | sed 's|/[^/]*$||;q')
	search=
	pkg-config --exists netdaemon 2>/dev/null || search="PKG_CONFIG_PATH=$folder "
	cat <<END
Installed under $prefix. The twenty-line server of the README, in echo.c, is compiled by

    cc echo.c -o echo \$(${search}pkg-config --cflags --libs netdaemon)

and answers on port 7777 after ./echo --logfile STDERR
END
	[ -z "$search" ] ||
		printf 'To run it: LD_LIBRARY_PATH=%s ./echo --logfile STDERR\n' "${folder%/*}"
}

cmd_clean() {
	[ $# -eq 0 ] || misused "clean takes no argument: '$1'"
	rm -rf "$build"
}

# -------------------------------------------------------------------------------------------- main

while [ $# -gt 0 ]; do
	case $1 in
	--no-install) install=no ;;
	-h | --help) set -- help && break ;;
	-*) misused "there is no option '$1'" ;;
	*) break ;;
	esac
	shift
done
[ $# -gt 0 ] || misused "which command?"
command=$1
shift
case $command:${1-} in
run:* | bench:*) ;; # theirs
*:-h | *:--help) command=help ;;
esac
case $command in
build | run | test | lint | bench | coverage | fuzz | install | clean) "cmd_$command" "$@" ;;
help) usage ;;
*) misused "there is no command '$command'" ;;
esac
