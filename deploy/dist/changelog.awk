#!/usr/bin/awk -f
# CHANGELOG.md in the shape that Debian reads: a section is a version, "Unreleased" is the one that is packed. Headings: "## 0.2.0 - 2026-11-26".

/^## / {
    close_entry()
    if ($2 == "Unreleased") {
        name = version
        when = today
    } else {
        name = $2
        cmd = "date -u -R -d " $NF
        cmd | getline when
        close(cmd)
    }
    open = 1
    entries++
    if (entries > 1)
        print ""
    print "tokenwatch (" name ") unstable; urgency=medium\n"
    next
}
open && /^- / { close_item(); item = substr($0, 3); next }
open && /^  / { item = item " " substr($0, 3) }
END { close_entry() }

function close_item(    line, words, n, i) {
    if (item == "")
        return
    n = split(item, words, " ")
    line = "  *"
    for (i = 1; i <= n; i++) {
        if (length(line) + 1 + length(words[i]) > 78) {
            print line
            line = "   "
        }
        line = line " " words[i]
    }
    print line
    item = ""
}

function close_entry() {
    close_item()
    if (open)
        print "\n -- " packer "  " when
    open = 0
}
