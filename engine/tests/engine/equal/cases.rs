//! Dockerfiles, and the files that they are about.

/// A Dockerfile and its context. Its image is named for it, and later ones may begin with that.
pub struct Case {
    pub name: &'static str,
    /// Makes the context in the folder that it runs in. Everything is dated to one second afterwards.
    pub context: &'static str,
    pub dockerfile: &'static str,
    /// More of the command line, which is the same for both.
    pub flags: &'static [&'static str],
}

const fn case(name: &'static str, context: &'static str, dockerfile: &'static str) -> Case {
    Case { name, context, dockerfile, flags: &[] }
}

const fn with(
    flags: &'static [&'static str],
    name: &'static str,
    context: &'static str,
    dockerfile: &'static str,
) -> Case {
    Case { name, context, dockerfile, flags }
}

/// What several contexts have.
const TREE: &str = r"mkdir -p d/sub/deep e
echo a >a.txt; echo b >b.txt; echo c >c.md; echo one >d/one.txt; echo two >d/two.md; echo three >d/sub/three.txt
echo four >d/sub/deep/four.txt; echo five >e/five.txt; echo run >run.sh; chmod 750 run.sh; chmod 640 c.md; chmod 700 d/sub
ln -s a.txt link; ln -s d dlink; ln -s nowhere e/dangling; ln -s ../a.txt d/up; ln -s /a.txt absolute
";

/// tar of `packed/` with a file, a hard and a symbolic link, and a folder, all of 33:34.
const ARCHIVES: &str = r"echo H4sIAAAAAAACA+3WTQqDMBAF4Kx7Cm/gTMwk57E1paIU0Xr/xp9FcSEITUrb921GyMb4eDFdeWl8lauYKHAi8yTD69TLXCiyIszWmOmZScipTFQC4/Ao+/Aq79jkvJF1foluyf9atz5q/tbQTv5ukz8XYTkj5J8o/5OC/7T2/1b21Qf7vz3/Q/1D/znF4YT+T5+4re9N3P+/cwfy11pblemowSP/l/yH8ZzHzZ+O9J+1tbj/Jc6/8r6LeP6bnfxl238uCtz/UphCx+0PAAAAAAAAAAAAAADgdzwBYL4JdgAoAAA= | base64 -d >p.tar.gz
echo QlpoOTFBWSZTWVotvlUAAWZ7kOmQIABAAP+EIiR/bV4ABAABCDAA7NAyUAZAAA0AAGKEjQYABMACYIpFPQptE2hMDQjRsU9PlA8MZHs20jopCgYBGgAKKJBBooFVacg2LWjqcR1DYMx+ilUiY2gjArt3TXxOIHQPI1SiBEoPxMZgIdTrF8VCF4wDdA/Ng2MgUHRJiB+POQLUmBNmYXTBA2AuQKaS8H7fTB2UHTFraNQ6IpXQlChuAxH9yPIHTsB3/8X8AvKFC6MGrLEDJpFZpwjjnJ2LcNhmBm+c5cxA9i7kinChILRbfKo= | base64 -d >p.tar.bz2
echo /Td6WFoAAAFpIt42AgAhARwAAAAQz1jM4Cf/AMxdADgYSJnNXByGRPxPKlkvo/e4VydPHDlzxchY92pcRCPk2MOyQKScl5n7rcQkFFMNme3Z8OoWq4X9qsIBrHdHkbySSlD5AmFenks2KoeCDVdZ4gm6Tm1y8zMio4OCiBATZEn1OfyeqN2I7dSqRQHVIfdtQgO3Uj5xz6/cEHkbivG6VfARhths0CU2msCFPKUNwXHjOsIfH518bGY5zzQ9gK1XCRn69n9jxyUWg/WnyG/y4Pq//WknBYiIyGBHAjnJd/bv+o/dK2g++l2SAABgvgl2AAHkAYBQAAByPAXyPjANiwIAAAAAAVla | base64 -d >p.tar.xz
echo KLUv/WAAJ3UFALJGFBKA2wHU7zc1pQlK7pAUimQyJQOljGOqcw0hMp7EypeERoSQlCSNU4w3q6Bo8NDElJFukJvxvf+2Ct/cJ3T6+Xj/xqAxzkFvMsz7nPQWzUmmaiegUTlEaIFb7yAvu+3/h959gETHzypjVg+hIZAOA96q2oBSUWb05Nho8l8bm9sBnNg6JShjBQ7oOuEBJsRUjyrMqu9+iLrzAFmk9KWDIokGUloEOssikHLiaQ== | base64 -d >p.tar.zst
gzip -dc p.tar.gz >p.tar; head -c 100 p.tar.gz >cut.tar.gz; echo text | gzip -n >text.gz; : >empty; echo x >plain.txt
";

/// All that are built, in this order.
pub const CASES: &[Case] = &[
    case("from-scratch", TREE, "FROM scratch\nCOPY a.txt /\nCOPY d /d\nENV A=1\n"),
    case("folder-alone", "", "FROM scratch\nLABEL only=this\nWORKDIR /w\n"),
    case(
        "stages",
        TREE,
        r#"FROM base:1 AS one
RUN mkdir -p /made/sub && echo made >/made/file && echo sub >/made/sub/file && ln -s file /made/link && chown -R 33:34 /made && chmod 2750 /made/sub
FROM scratch AS two
COPY --from=one /made/sub /sub/
COPY --from=0 /made/file /renamed
FROM one AS three
COPY a.txt /made/
FROM base:1
COPY --from=two / /two/
COPY --from=1 /renamed /
COPY --from=three /made /three
COPY --from=one /made/link /followed
COPY --from=one /made/* /all/
COPY --from=base:1 /etc/passwd /of-image
FROM nosuch:1 AS unused
RUN exit 1
FROM three
COPY --from=3 /all /all
"#,
    ),
    with(&["--target", "two"], "target", TREE, "FROM base:1 AS one\nRUN echo x >/x\nFROM scratch AS two\nCOPY --from=one /x /\nFROM base:1\nRUN exit 3\n"),
    with(
        &["--build-arg", "GIVEN=given", "--build-arg", "OVER=over", "--build-arg", "HTTP_PROXY=http://127.0.0.1:9", "--label", "by=flag"],
        "arguments",
        "",
        r#"ARG TAG=1
ARG BASE=base:${TAG}
ARG GLOBAL=global
FROM ${BASE} AS one
ARG TAG
ARG GLOBAL
ARG OVER=default
ARG GIVEN
ARG UNSET
ARG EMPTY=
ARG DERIVED=${OVER}-${GLOBAL} QUOTED="a b"
ARG TARGETPLATFORM
ARG TARGETOS
ARG BUILDOS
ARG TARGETSTAGE
RUN echo "$TAG $GLOBAL $OVER $GIVEN ${UNSET-unset} ${EMPTY-unset} $DERIVED $QUOTED ${TARGETPLATFORM:+set} $TARGETOS $BUILDOS $TARGETSTAGE" >/said
ENV OVER=env FROM_ARG=${GIVEN}
RUN echo "$OVER $FROM_ARG" >>/said
ARG OVER=again
RUN echo "$OVER" >>/said
FROM one
RUN echo "${TAG-none} ${OVER-none} ${GLOBAL-none}" >>/said
ARG GLOBAL=other
LABEL global=$GLOBAL
FROM one
RUN echo "${HTTP_PROXY-none} ${TAG-none}" >>/said
ARG HTTP_PROXY
RUN echo "${HTTP_PROXY-none}" >>/said
"#,
    ),
    case(
        "expansion",
        "",
        r##"FROM base:1
ENV A=one EMPTY= P=/a/b/c.tar.gz S="x  y"
ENV B=${NONE:-default} C=${A:-default} D=${EMPTY:-default} E=${EMPTY-default} F=${A:+set} G=${NONE:+set} H=${EMPTY:+set} I=${EMPTY+set}
ENV J=${P#*/} K=${P##*/} L=${P%.*} M=${P%%.*} N=${P/b/X} O=${P//a/-} Q=${A#?} R=${P#[/]a} RR=${P%gz}
ENV T=\$A U="\$A" V='$A' W="$A$A" X=$A$A Y=${A}_ Z=$A_ AA=a\ b AB="a\"b" AC='a"b' AD="a\b" AE=a\\b
ENV AF="$S" AG=$S AH=pre${NONE:-${A}}post AI="${NONE:-"quoted"}" AK="${NONE:-a  b}"
ENV OLD style with  "quotes" and $A
ENV AL=$ AM=$$A AN=$1 AO="it's" AP=a#b AQ="é" AR=${A:?set} AS='' AT=""
ENV A=two AU=$A
ENV AV=$A \
    # a comment
    AW=next

ENV AX=line\
continued
ENV PATH=/opt/bin:$PATH
LABEL "a b"=c d='e f' g="h\
i" $A=${A} empty= "quoted"="x=y"
WORKDIR /${A}/$NONE/x
"##,
    ),
    case("expansion-odd", "", "FROM base:1\nENV A=x=y \"B\"=c\nENV C ${A}  tail  \nENV D=${A%y}${A/x/\\/} E=\"${A//x/}\" F=\\\"q\\\" G=a'b c'd\"e f\"\nENV H=\"a\\\nb\"\n"),
    case(
        "copies",
        TREE,
        r#"FROM base:1
COPY a.txt /
COPY a.txt /new/deep/name
COPY a.txt /new/folder/
COPY a.txt b.txt /two/
COPY *.txt /globbed/
COPY d /d
COPY d/ /d-slash/
COPY d/sub /d/
COPY d/* /star/
COPY d/*/* /starstar/
COPY [a-b].tx? /classes/
COPY nothing* a.txt /some/
COPY link /followed
COPY link d/up /followed-into/
COPY dlink /dlinked
COPY dlink/one.txt /through
COPY absolute /absolute
COPY ["a.txt", "b.txt", "/json names/"]
COPY run.sh /etc/
COPY . /all/
COPY d e /merged/
COPY ./d/../a.txt /dotted
COPY /a.txt /rooted
COPY e /etc
"#,
    ),
    case(
        "destinations",
        TREE,
        r#"FROM base:1
RUN mkdir -p /real/in && chmod 711 /real && ln -s real /link && ln -s /real/in /abs && echo old >/file && ln -s file /flink && chown 33:34 /real
COPY a.txt /link/
COPY a.txt /link/named
COPY d /link
COPY a.txt /abs/
COPY b.txt /flink
COPY a.txt /file
COPY a.txt /real
COPY d/sub /real/in
WORKDIR /real
COPY a.txt .
COPY b.txt ./
COPY b.txt other
COPY b.txt in
COPY b.txt ../above
COPY c.md sub/../c2.md
"#,
    ),
    case(
        "owners",
        TREE,
        r#"FROM base:1
COPY --chown=web a.txt /named
COPY --chown=web:logs a.txt /both
COPY --chown=33 a.txt /number
COPY --chown=1234:5678 d /numbers/made/
COPY --chown=:34 a.txt /group
COPY --chown=web:0 --chmod=600 a.txt /mixed
COPY --chmod=755 a.txt run.sh /bin2/
COPY --chmod=0640 d /modes
COPY --chmod=4755 a.txt /setuid
COPY --chown=33:34 link /link
COPY --chmod=u=rwX,go=rX d /symbolic
COPY --chmod=a+x a.txt /plus
ADD --chown=33:34 --chmod=700 a.txt /added/file
USER web
COPY a.txt /of-user/
WORKDIR /home/made
RUN id -u >/tmp/id
COPY --from=base:1 --chown=web /etc/passwd /passwd
COPY --from=base:1 /etc/group /deep/group
"#,
    ),
    case(
        "linked",
        TREE,
        "FROM base:1\nRUN ln -s etc /linked && mkdir /there && chmod 700 /there\nCOPY --link a.txt /new/\nCOPY --link --chown=33:34 d /there\nCOPY --link a.txt /linked/\nCOPY --link --chmod=600 a.txt /file\nADD --link b.txt /added/\nCOPY --link --from=base:1 /etc/passwd /p/\nRUN ls /etc >/list\n",
    ),
    case(
        "excluded",
        TREE,
        "FROM base:1\nCOPY --exclude=*.md d /one\nCOPY --exclude=**/*.txt d /two\nCOPY --exclude=d --exclude=*.txt . /three/\nCOPY --exclude=d/sub . /four\nCOPY --exclude=sub --exclude=two* d /five\nADD --exclude=b.* *.txt /six/\nCOPY --exclude=**/*.txt --exclude=!**/four.txt d /seven\nCOPY --exclude=b.txt [a-c].* /eight/\nCOPY --exclude=a.txt a.txt /nine\nCOPY --exclude=*.txt d* /ten/\n",
    ),
    case("stage-triggers", "", "FROM base:1 AS a\nONBUILD RUN echo x >/triggered\nFROM a\nRUN echo y >/y\n"),
    case(
        "archives",
        ARCHIVES,
        "FROM base:1\nADD p.tar.gz /gz/\nADD p.tar.bz2 /bz2/\nADD p.tar.xz /xz/\nADD p.tar.zst /zst\nADD p.tar /tar/\nADD text.gz empty plain.txt /kept/\nADD --chown=1:2 p.tar.gz /owned/\nCOPY p.tar.gz /copied/\nADD *.txt p.tar /mixed/\nADD --chmod=700 p.tar /modes/\n",
    ),
    case(
        "archive-over",
        ARCHIVES,
        "FROM base:1\nRUN mkdir -p /x/packed/file /x/packed/other && echo o >/x/packed/sub && chmod 711 /x/packed && chown 1:1 /x\nADD p.tar /x\nRUN rm -r /x/packed/other\n",
    ),
    case(
        "urls",
        "",
        "FROM base:1\nADD http://127.0.0.1:18777/name.txt /got/\nADD http://127.0.0.1:18777/name.txt /renamed\nADD --chmod=755 --chown=33:34 http://127.0.0.1:18777/name.txt?x=1 /mode\nADD --checksum=sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 http://127.0.0.1:18777/a/b/name.txt /sum/\nADD http://127.0.0.1:18777/p.tar.gz /packed/\nADD --unpack=true http://127.0.0.1:18777/p.tar.gz /unpacked/\n",
    ),
    case(
        "heredocs",
        TREE,
        r#"FROM base:1
ARG X=value
RUN <<EOF
echo one $X >/one
	echo tab >>/one
EOF
RUN <<-END
	echo chomped >/two
	END
RUN <<"QUOTED"
echo "$X" >/three
QUOTED
RUN <<EOF
#!/bin/sh
echo "$0" | head -c 5 >/four
EOF
RUN cat >/five <<EOF && echo $X more >>/five
a $X
	b
EOF
RUN cat <<ONE >/six; cat <<TWO >>/six
1
ONE
2
TWO
COPY <<EOF /plain
text $X ${NONE:-none} \$X "q" 'q'
EOF
COPY <<'RAW' <<"RAW2" <<-TABS /files/
$X
RAW
\$X
RAW2
	x
	y
TABS
COPY --chmod=755 --chown=33:34 <<script.sh a.txt /mixed/
#!/bin/sh
script.sh
ADD <<EOF /added
EOF
"#,
    ),
    case(
        "workdirs",
        "",
        "FROM base:1\nWORKDIR rel\nWORKDIR ative\nRUN pwd >/said\nWORKDIR /abs/./x/../y/\nWORKDIR ..\nWORKDIR /etc\nENV D=/v\nWORKDIR $D/w\nUSER 33:50\nWORKDIR /owned/by\nUSER web\nWORKDIR sub\nWORKDIR \"/quo ted\"\nWORKDIR /\n",
    ),
    case("workdir-of-scratch", TREE, "FROM scratch\nCOPY a.txt relative/\nWORKDIR w\nCOPY a.txt .\nCOPY d .\n"),
    case(
        "users",
        "",
        "FROM base:1\nUSER web\nRUN id -u >/tmp/1; id -g >>/tmp/1\nUSER 33\nRUN id -u >/tmp/2; id -g >>/tmp/2\nUSER 44:logs\nRUN id -u >/tmp/3; id -g >>/tmp/3; id -G >>/tmp/3\nUSER 55:66\nRUN id -u >/tmp/4; id -g >>/tmp/4; umask >>/tmp/4; touch /tmp/5; mkdir /tmp/6\nUSER root\n",
    ),
    case(
        "volumes",
        TREE,
        "FROM base:1\nRUN mkdir /data && echo before >/data/before\nVOLUME /data\nRUN echo after >/data/after\nCOPY a.txt /data/\nVOLUME [\"/json\", \"/two words\"] \nVOLUME /a /b/ $NONE/c\nVOLUME [\"/one\"]\nRUN echo x >/one/x 2>/dev/null || mkdir /one\n",
    ),
    case(
        "trigger",
        "",
        "FROM base:1\nONBUILD ARG WHO=default\nONBUILD COPY a.txt /triggered/\nONBUILD RUN echo $WHO >/who\nONBUILD ENV BY=trigger\nONBUILD WORKDIR /w\nonbuild   user   33\nONBUILD LABEL  a=b\nONBUILD RUN [\"/bin/sh\", \"-c\", \"id -u >/tmp/id\"]\n",
    ),
    with(&["--build-arg", "WHO=me"], "triggered", TREE, "FROM trigger:latest\nRUN echo $BY $WHO >/tmp/own\n"),
    case("not-triggered", TREE, "FROM triggered:latest\nRUN echo $BY >/tmp/own\nONBUILD RUN x\n"),
    case(
        "described",
        "",
        r#"FROM base:1
MAINTAINER Some Body <some@body>
HEALTHCHECK --interval=5s --timeout=1m30s --start-period=1h --start-interval=500ms --retries=3 CMD wget -q -O - http://x || exit 1
HEALTHCHECK --interval=1.5s CMD ["true", "a b"]
LABEL one=1 two="2 \"x\" \\ y" three.four='5 $HOME' five=$PATH
LABEL old style value
LABEL multi="a \
b" \
      other=c
EXPOSE 80 443/tcp 53/udp 8000-8003 9000-9001/udp
EXPOSE 80 ${NONE:-81} 1/sctp 2/TCP
STOPSIGNAL SIGUSR1
STOPSIGNAL 9
SHELL ["/bin/sh", "-ec"]
RUN echo $0 >/said
CMD echo "shell form"   with  $VAR
ENTRYPOINT ["/bin/echo", "exec form"]
SHELL ["/bin/busybox", "sh", "-c"]
CMD exec of \
  several lines
HEALTHCHECK CMD echo x
"#,
    ),
    case("unhealthy", "", "FROM described:latest\nHEALTHCHECK NONE\nSTOPSIGNAL ${NONE:-RTMIN+1}\nEXPOSE 80\nLABEL one=2\n"),
    case("command", "", "FROM base:1\nENTRYPOINT [\"/bin/echo\", \"e\"]\nCMD [\"c\"]\n"),
    case("command-kept", "", "FROM command:latest\nENV A=1\n"),
    case("command-taken", "", "FROM command:latest\nENTRYPOINT /bin/echo $A\n"),
    case("command-own", "", "FROM command:latest\nCMD x y\nENTRYPOINT [\"z\"]\nCMD []\n"),
    case("command-reset", "", "FROM command:latest\nENTRYPOINT []\n"),
    case("command-stage", "", "FROM command:latest AS a\nCMD [\"of stage\"]\nFROM a\nENTRYPOINT [\"x\"]\n"),
    case("json-like", "", "FROM base:1\nCMD ['single']\nENTRYPOINT [ \"a\" , \"b\\u0041\\n\" ]\nRUN [\"/bin/sh\",\"-c\",\"echo '<&>' >/x\"]\nLABEL h=\"<&>\"\nCMD echo '<&>' \"é\" > /dev/null\n"),
    case(
        "ignored",
        "mkdir -p a/b/c docs node_modules/x src/node_modules; for f in a/one.txt a/two.md a/b/three.txt a/b/four.md a/b/c/five.txt docs/x.md docs/README.md node_modules/x/y src/node_modules/z src/main .git top.log keep.log; do echo $f >$f; done
printf '# comment\\n*.log\\n!keep.log\\n**/node_modules\\ndocs\\n!docs/README.md\\n/a/b/*.md\\n  a/one.txt  \\n.git\\n!.gitignore\\na/b/c/\\n./a/two.??\\n' >.dockerignore",
        "FROM scratch\nCOPY . /all\nCOPY a /a\nCOPY docs /docs\nCOPY *.log /logs/\n",
    ),
    case(
        "ignored-all",
        "mkdir -p a/b c; echo 1 >a/b/1; echo 2 >a/2; echo 3 >c/3; echo 4 >4; printf '*\\n!a/b\\n!c\\nc/3\\n!4' >Dockerfile.ignored-all.dockerignore; echo '**' >.dockerignore",
        "FROM scratch\nCOPY . /\n",
    ),
    case(
        "modes",
        "mkdir -p d/sticky d/setgid d/closed; echo x >d/f; ln d/f d/hard; ln d/f d/closed/hard; mkfifo d/fifo; chmod 1777 d/sticky; chmod 2755 d/setgid; chmod 500 d/closed; echo s >d/suid; chmod 4711 d/suid; echo r >d/ro; chmod 400 d/ro; echo n >d/none; chmod 0 d/none; echo sp >'d/a b'; echo u >d/é; ln -s ../f d/sticky/l",
        "FROM base:1\nCOPY d /d\nCOPY d/f d/hard /links/\nCOPY d/ /there/\nRUN ln /d/f /d/third && chmod 755 /d/ro\nRUN touch -d @1100000000 /d/sticky && echo y >>/d/suid\n",
    ),
    case(
        "removed",
        TREE,
        "FROM base:1\nCOPY d /d\nRUN rm /d/one.txt /etc/group && rm -r /d/sub\nRUN mkdir /d/sub && echo new >/d/sub/new\nRUN rm -r /d && mkdir /d && echo x >/d/x\nRUN rm -r /d\nRUN touch /t && rm /t\nRUN echo x >/etc/group; chmod 700 /tmp; chmod 1777 /tmp\nRUN ln -s a /l\nRUN rm /l && mkdir /l\nRUN rmdir /l && echo f >/l\n",
    ),
    case(
        "changed",
        "mkdir d; echo x >d/x; echo y >y",
        r"FROM base:1
RUN chmod 600 /etc/passwd && chown 33:34 /etc/group && touch -d @1100000000 /tmp
COPY d /d
RUN mv /d /e && mkdir /d
RUN ln /etc/passwd /etc/linked && ln -s /nowhere /dangling
RUN echo z >>/etc/linked
COPY y /dangling
COPY y /etc/passwd
RUN busybox mkfifo /fifo && busybox mknod /null c 1 3 && chmod 644 /null
RUN mkdir -m 2775 /setgid && chgrp 34 /setgid && touch /setgid/inherits && mkdir /setgid/deep
RUN rm /fifo && echo f >/fifo && rm /null && mkdir /null
RUN rm -r /null /e && ln -s /etc /e
RUN echo through >/e/through
COPY d /e/
",
    ),
    case(
        "names",
        "mkdir -p d; long=$(printf 'l%.0s' $(seq 120)); mkdir -p d/$long/$long; echo deep >d/$long/$long/$long; echo n >d/$(printf 'n%.0s' $(seq 255)); printf x >'d/a\\b'; printf x >\"d/quo'te\"; printf x >'d/st*r'; printf x >'d/[x]'; printf x >'d/$A'; printf x >'d/#'; printf x >d/-; printf x >'d/ '; ln -s $long/$long/$long d/link; touch d/.hidden",
        "FROM scratch\nCOPY d /d\nCOPY d/[[]x] d/quo\\'te /one/\nCOPY [\"d/a\\\\\\\\b\", \"d/#\", \"d/ \", \"/two/\"]\nCOPY d/\\$A d/- d/.h* /three/\nCOPY d/st\\*r /four/\nCOPY d/l* /five/\n",
    ),
    case(
        "times",
        "echo a >old; echo b >before; echo c >later",
        "FROM base:1\nCOPY old before later /\nRUN touch -d @0 /zero && touch -d @5000000000 /far\nCOPY --from=base:1 /etc/passwd /p\n",
    ),
    case(
        "links-of-stages",
        "echo a >a",
        "FROM base:1 AS one\nRUN mkdir -p /real/deep /abs && echo f >/real/f && ln -s /real /abs/to && ln -s ../real/deep /abs/deep && ln -s /real/f /abs/file && ln -s /abs/file /chain && ln -s a /loop-free\nCOPY a /abs/to/a\nFROM base:1\nCOPY --from=one /abs/to /one\nCOPY --from=one /abs/to/f /abs/file /chain /two/\nCOPY --from=one /abs /three\nCOPY --from=one /abs/* /four/\nCOPY --from=one --chown=5:6 --chmod=711 /abs/to/ /five/\nCOPY --from=one /chain /six\n",
    ),
    case(
        "dots",
        TREE,
        "FROM base:1\nWORKDIR /w\nCOPY . .\nCOPY ./d/. ./x/.\nCOPY a.txt ./y/.\nCOPY d/sub/.. ../z\nCOPY a.txt .hidden\nCOPY ./a.txt ./b.txt ./\nCOPY //a.txt //two//slashes//\nADD d/ .\n",
    ),
    case(
        "shells",
        "",
        "FROM base:1\nSHELL [\"/bin/busybox\", \"sh\", \"-ec\"]\nRUN echo $0 >/one\nRUN <<EOF\necho $0 >/two\nfalse || true\nEOF\nRUN [\"sh\", \"-c\", \"echo exec >/three\"]\nRUN <<EOF sh\necho fed >/four\nEOF\nSHELL [\"/bin/sh\", \"-c\"]\nRUN cd /tmp; pwd >/five\\\n  && echo \"$PATH\" >>/five; export A=1; echo $A $HOME $HOSTNAME >>/five\nRUN env | grep -v HOSTNAME | sort >/six\nUSER web\nRUN env | grep -v HOSTNAME | sort >/tmp/seven; cat /proc/self/status | grep -i 'cap\\|nonewprivs\\|groups' >>/tmp/seven\n",
    ),
    case("platforms", "", "FROM --platform=$BUILDPLATFORM base:1 AS a\nFROM --platform=linux/${TARGETARCH} base:1\nCOPY --from=a /etc/passwd /p\n"),
    case("nothing-done", "", "FROM base:1\nRUN true\nWORKDIR /etc\nRUN [\"/bin/true\"]\n"),
    case(
        "mounts",
        TREE,
        "FROM base:1 AS other\nRUN echo other >/o\nFROM base:1\nRUN --mount=type=bind,source=d,target=/src ls /src >/said\nRUN --mount=type=bind,from=other,source=/o,target=/m cat /m >>/said\nRUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/t echo x | dd of=/cache/x 2>/dev/null\nWORKDIR /w\nRUN --mount=target=rel,rw touch rel/new && ls rel >>/said\nRUN --mount=type=secret,id=none,required=false ls /run >>/said 2>&1 || true\nRUN --network=none true\n",
    ),
    case("escaped", "echo a >a", "# escape=`\n# a comment\nFROM base:1\nENV A=x`\n  B=y\\z C=`$A D=\"a`\"b\"\nRUN echo one`\n two >/said\nCOPY a c:\\a\nRUN echo \\\\ >>/said\n"),
    case(
        "layout",
        TREE,
        "\u{feff}#escape=\\\n\n  # indented comment\nFrom base:1 aS Final\n\n  copy a.txt /x\nRUN echo 'one \\\n# comment within\n\n  two' \\\n  && echo three >/said\nENV   A   b  c\nrun\techo tab >>/said # not a comment\nRUN echo a \\  \n b\nCMD [ \"x\" ] \n",
    ),
    case("odd-run", "", "FROM base:1\nRUN echo \"a   b\" 'c\\d' \\\\ $HOME\nRUN   [ \"/bin/echo\", \"$HOME\" ]\nRUN [ -e /etc ] && echo x\nRUN echo \\\n  a\\\n  b\n"),
    // What both refuse.
    case("refused-dangling", TREE, "FROM base:1\nCOPY e/dangling* /x/\n"),
    case("refused-cut", ARCHIVES, "FROM base:1\nADD cut.tar.gz /\n"),
    case("refused-copy", "", "FROM base:1\nCOPY nothing /\n"),
    case("refused-copy-outside", "", "FROM base:1\nCOPY ../../etc/passwd /\n"),
    case("several", TREE, "FROM base:1\nCOPY a.txt b.txt /one\n"),
    case("several-globbed", TREE, "FROM base:1\nCOPY *.txt /one\n"),
    case("globbed-none", TREE, "FROM base:1\nCOPY nothing* /one/\n"),
    case("refused-folder-on-file", TREE, "FROM base:1\nCOPY d /etc/passwd\n"),
    case("refused-file-on-folder", "mkdir x; echo passwd >x/passwd; mkdir -p y/passwd; echo z >y/passwd/z", "FROM base:1\nCOPY y /etc\n"),
    case("refused-link-folder", "mkdir -p d/sub; echo x >d/sub/x", "FROM base:1\nRUN mkdir /x && ln -s /etc /x/sub\nCOPY d /x\n"),
    case("refused-folder-for-file", "mkdir -p d/passwd; echo x >d/passwd/x", "FROM base:1\nCOPY d/ /etc/\n"),
    case("several-json", TREE, "FROM base:1\nCOPY [\"a.txt\", \"b.txt\", \"/one\"]\n"),
    case("unknown-user", TREE, "FROM base:1\nCOPY --chown=nobody a.txt /\n"),
    case("unknown-group", TREE, "FROM base:1\nCOPY --chown=0:nobody a.txt /\n"),
    case("refused-run-user", TREE, "FROM base:1\nUSER nobody\nRUN true\n"),
    case("refused-instruction", "", "FROM base:1\nNOSUCH x\n"),
    case("refused-flag", "", "FROM base:1\nCOPY --nosuch=1 a /\n"),
    case("refused-checksum", "", "FROM base:1\nADD --checksum=sha256:3cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 http://127.0.0.1:18777/name.txt /\n"),
    case("refused-empty-from", "", "FROM $NONE\n"),
    case("refused-variable", "", "FROM base:1\nENV A=${NONE:?is missing}\n"),
    case("refused-modifier", "", "FROM base:1\nENV A=${PATH^}\n"),
    case("refused-quote", "", "FROM base:1\nENV A=\"x\n"),
    case("refused-blank", "", "FROM base:1\nENV AJ=${NONE:-a b}\n"),
    case("refused-env", "", "FROM base:1\nENV A\n"),
    case("refused-port", "", "FROM base:1\nEXPOSE 99999\n"),
    case("refused-signal", "", "FROM base:1\nSTOPSIGNAL NOSUCH\n"),
    case("refused-stage", "", "FROM base:1 AS a\nCOPY --from=a /etc/passwd /\n"),
    case("refused-trigger", "", "FROM base:1\nONBUILD FROM x\n"),
];
