"""Connections and their process: the runtime's end, the program's end, a fork."""

from net_helpers import run_code


def test_conns_that_outlive_the_runtime():
    r = run_code("""
import os, tempfile
import ramet
from ramet import net
path = os.path.join(tempfile.mkdtemp(), "s")
ln = net.listen("unix", path)
a = net.dial("unix", path)
b = ln.accept(1)
ramet.go(b.read, 1)
try:
    b.write(b"x")
    a.read(10, 1)
    a.read(10, 0.01)
except TimeoutError:
    print("ok")
""")
    assert r.stdout == "ok\n"
    assert "Fatal" not in r.stderr


def test_a_program_ends_although_a_server_runs():
    r = run_code("""
from ramet import net
def handler(conn):
    conn.read(1)
server = net.serve("127.0.0.1:0", handler)
c = net.dial("tcp", server.addr)
while not server._active:
    __import__("ramet").gosched()
c.close()
print("ok")
""")
    assert r.stdout == "ok\n"
    assert r.stderr == ""


def test_a_forked_child_uses_and_closes_what_it_inherits():
    r = run_code("""
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import ramet
from ramet import net
ln = net.listen("tcp", "127.0.0.1:0")
a = net.dial("tcp", ln.addr)
b = ln.accept(1)
g1, g2 = ramet.go(b.read, 100), ramet.go(b.read, 100)
ramet.gosched()
pid = os.fork()
if pid == 0:
    try:
        a.write(b"from the child")
        a.close()
        b.close()
        ln.close()
        with net.listen("tcp", "127.0.0.1:0") as mine, net.dial("tcp", mine.addr) as c, mine.accept(1) as d:
            c.write(b"x")
            assert d.read(1, 1) == b"x"
            try:
                d.read(1, 0.01)
            except TimeoutError:
                pass
            else:
                os._exit(3)
        os._exit(0)
    except BaseException as e:
        print(repr(e), flush=True)
        os._exit(2)
assert g1.join(5) == b"from the child"
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
a.write(b"from the parent")
assert g2.join(5) == b"from the parent"
with net.dial("tcp", ln.addr) as c, ln.accept(1):
    pass
for x in (a, b, ln):
    x.close()
print("ok")
""")
    assert r.stdout == "ok\n"
