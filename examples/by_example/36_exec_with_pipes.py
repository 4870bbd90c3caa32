"""Processes with pipes: a goroutine feeds the child, another one reads it, line by line."""

from ramet import go, os


def feed(stdin, words):
    with stdin:  # closing it tells the child that this is all
        for word in words:
            stdin.write(word + "\n")


with os.Popen(["sort"], stdin=os.PIPE, stdout=os.PIPE, text=True) as sort:
    go(feed, sort.stdin, ["pear", "apple", "fig"])
    for line in sort.stdout:
        print("sorted:", line.rstrip())
print("exit status", sort.returncode)

# One child's output is the next one's input, as in a shell: printf ... | sort | uniq -c
printf = os.Popen(["printf", r"b\na\nb\n"], stdout=os.PIPE)
sort = os.Popen(["sort"], stdin=printf.stdout, stdout=os.PIPE)
uniq = os.Popen(["uniq", "-c"], stdin=sort.stdout, stdout=os.PIPE, text=True)
for parent_end in (printf.stdout, sort.stdout):
    parent_end.close()  # the children have it
out, _ = uniq.communicate()
for line in out.splitlines():
    print("counted:", *line.split())
print("exit statuses", printf.wait(), sort.wait(), uniq.returncode)
