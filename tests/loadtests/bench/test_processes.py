"""What is read of /proc."""

import os

from loadtests.bench.processes import Stat, cpu_s, descendants, memory_mb, parse_rss_kib, parse_stat, tree

LINE = (
    "4242 (a (strange) name) S 17 4242 4242 0 -1 4194560 1095 33 0 0 700 60 5 2 20 0 9 0 1234 1000 500 "
    "18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0"
)


def test_a_stat_line_is_read_past_a_name_with_brackets_and_blanks():
    assert parse_stat(LINE) == Stat(pid=4242, parent=17, ticks=767)


def test_descendants_are_found_whatever_the_order():
    def stat(pid: int, parent: int) -> Stat:
        return Stat(pid=pid, parent=parent, ticks=1)

    stats = [stat(5, 4), stat(4, 2), stat(3, 1), stat(2, 1), stat(9, 0)]
    assert sorted(each.pid for each in descendants(stats, 2)) == [2, 4, 5]
    assert descendants(stats, 77) == ()


def test_resident_memory_is_read_and_an_ended_process_has_none():
    assert parse_rss_kib("Name:\tx\nVmHWM:\t  9000 kB\nVmRSS:\t  8123 kB\n") == 8123
    assert parse_rss_kib("Name:\tx\nState:\tZ (zombie)\n") == 0


def test_this_process_is_measured_as_the_kernel_sees_it():
    assert os.getpid() in {stat.pid for stat in tree(os.getpid())}
    assert cpu_s(os.getpid()) >= sum(os.times()[:2]) * 0.5
    assert 5 < memory_mb(os.getpid()) < 10_000
