#!/bin/sh
# build_perl.sh - builds Net::Daemon for Perl, out of the source folder.
#
# usage: build_perl.sh missing
#        build_perl.sh FOLDER [WORD...]     (words for Makefile.PL: INSTALL_BASE=DIR)
#
# Happy path: FOLDER is made anew with what `make dist` ships, the files of perl/MANIFEST and the C
# core, and the module is built there, so that whatever the MANIFEST lacks is missed at once.
# FOLDER.built is what is younger than every source, FOLDER.d the sources, for ninja.
# "missing" names what this system lacks for that, in one line; nothing: it can be built.
# Failure modes: a file of the MANIFEST that is not there, or does not compile: its words, and no
# FOLDER.built. The Perl is the first on the PATH. POSIX sh.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)

# missing: the first thing that is not there; each needs those before it
missing() {
	command -v perl >/dev/null || { echo 'perl' && return; }
	# shellcheck disable=SC2016 # Perl's variables
	perl -MConfig -e '
		sub there { my ($name) = split " ", shift; grep { -x "$_/$name" } "", split /:/, $ENV{PATH} }
		eval { require ExtUtils::MakeMaker } or $lack = "ExtUtils::MakeMaker";
		$lack ||= "make ($Config{make})" unless there($Config{make});
		$lack ||= "the C compiler of this Perl ($Config{cc})" unless there($Config{cc});
		$lack ||= "the headers of this Perl" unless -f "$Config{archlibexp}/CORE/perl.h";
		print "$lack\n" if $lack;'
}

# distribution FOLDER: copy there what users get
distribution() {
	mkdir -p "$1"
	while read -r name _; do
		case $name in
		*/*) mkdir -p "$1/${name%/*}" ;;
		'') continue ;;
		esac
		cp -p "$root/perl/$name" "$1/$name"
	done <"$root/perl/MANIFEST"
	(cd "$root/perl" && perl Makefile.PL CORE="$root" --core-into "$1")
}

# sources FOLDER: what was copied there, in the form of a makefile
sources() {
	from=$(printf '%s' "$root" | sed 's/[ #\\]/\\&/g')
	printf '%s.built:' "$folder"
	while read -r name _; do
		case $name in
		core/*) printf ' \\\n %s' "$from/${name#core/}" ;;
		?*) printf ' \\\n %s' "$from/perl/$name" ;;
		esac
	done <"$1/MANIFEST"
	echo
}

[ $# -gt 0 ] || { sed -n '/^# usage/,/^#$/s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
if [ "$1" = missing ]; then
	missing
	exit
fi
folder=$1
shift
lack=$(missing)
if [ -n "$lack" ]; then
	echo "build_perl.sh: Net::Daemon for Perl cannot be built without $lack" >&2
	exit 1
fi
rm -rf "$folder" "$folder.built" "$folder.d"
mkdir -p "$folder"
there=$(CDPATH='' cd -- "$folder" && pwd -P)
distribution "$there"
sources "$there" >"$folder.d"
(
	cd "$there"
	perl Makefile.PL "$@" >configure.log || { cat configure.log >&2 && exit 1; }
	make -s -j2
)
: >"$folder.built"
