"""Finding the server's own cgroup in what the kernel writes, on machines unlike this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.node.levels.cgroup_tree import NoCgroup, own_cgroup, tree_name

UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = (
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 master:2 - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
)
CONTAINER = "812 801 0:26 /docker/abc /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n"
ESCAPED = "30 23 0:26 / /mnt/c\\040g rw - cgroup2 none rw\n"
FROM_ABOVE = "30 23 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize(
    ("mountinfo", "membership", "folder"),
    [
        (UNIFIED, "0::/system.slice/deadstop.service\n", "/sys/fs/cgroup/system.slice/deadstop.service"),
        (UNIFIED, "0::/\n", "/sys/fs/cgroup"),
        (HYBRID, "9:name=systemd:/\n4:memory:/a/b\n0::/\n", "/sys/fs/cgroup/unified"),
        (HYBRID, "4:memory:/a/b\n0::/user.slice/x y\n", "/sys/fs/cgroup/unified/user.slice/x y"),
        (CONTAINER, "0::/docker/abc/inner\n", "/sys/fs/cgroup/inner"),
        (CONTAINER, "0::/docker/abc\n", "/sys/fs/cgroup"),
        (ESCAPED, "0::/job\n", "/mnt/c g/job"),
        (FROM_ABOVE + UNIFIED, "0::/job\n", "/sys/fs/cgroup/job"),
    ],
)
def test_the_own_cgroup_is_found(mountinfo: str, membership: str, folder: str) -> None:
    assert own_cgroup(mountinfo, membership) == Path(folder)


@pytest.mark.parametrize(
    ("mountinfo", "membership", "reason"),
    [
        (HYBRID.replace("cgroup2", "cgroup"), "0::/\n", "no cgroup2 file system is mounted"),
        ("", "0::/\n", "no cgroup2 file system is mounted"),
        (UNIFIED, "4:memory:/a/b\n", "in no cgroup of version 2"),
        (CONTAINER, "0::/docker/abcdef\n", "outside of what is mounted"),
        (UNIFIED, "0::/../elsewhere\n", "outside of what is mounted"),
        (FROM_ABOVE, "0::/job\n", "outside of what is mounted"),
    ],
)
def test_where_there_is_none_the_reason_is_given(mountinfo: str, membership: str, reason: str) -> None:
    with pytest.raises(NoCgroup, match=reason):
        own_cgroup(mountinfo, membership)


def test_each_state_folder_has_a_name_of_its_own(tmp_path: Path) -> None:
    """By device and inode, and not by path: a mount namespace may have another folder at the same one."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert tree_name(tmp_path / "a") == tree_name(tmp_path / "link") == tree_name(tmp_path / "b" / ".." / "a")
    assert tree_name(tmp_path / "a") != tree_name(tmp_path / "b")
    before = tree_name(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "moved")
    (tmp_path / "b").rename(tmp_path / "a")
    assert tree_name(tmp_path / "moved") == before
    assert tree_name(tmp_path / "a") != before
