//! Tests of what hosts differ in, with two file systems that have the same content and nothing else in common.

use super::*;
use crate::fs::mem::{Limits, MemFs};

/// A directory whose file system has other numbers and another order: names come in this order, `spare` files have
/// come and gone before, and its clock stood at `time`.
fn host(names: &[&str], spare: usize, time: Timestamp) -> Box<dyn FileSystem> {
    let mut fs = MemFs::new(Limits::NONE, time);
    let root = fs.root();
    for _ in 0..spare {
        fs.create(root, b"spare", &mut || time).unwrap();
        fs.unlink(root, b"spare", &mut || time).unwrap();
    }
    for name in names {
        let name = name.as_bytes();
        match name.ends_with(b"/") {
            true => fs
                .create_dir(root, &name[..name.len() - 1], &mut || time)
                .unwrap(),
            false => {
                let node = fs.create(root, name, &mut || time).unwrap();
                let file = fs.open(node, WRITE).unwrap();
                fs.write(file, 0, b"data", &mut || time).unwrap();
                fs.close(file);
            }
        }
    }
    Box::new(fs)
}

const WRITE: Access = Access {
    read: true,
    write: true,
};

fn both() -> [(Fixed, Rc<VirtualTime>); 2] {
    [
        host(&["b", "dir/", "a", "c"], 0, 77),
        host(&["c", "a", "b", "dir/"], 3, 1 << 60),
    ]
    .map(|host| {
        let time = Rc::new(VirtualTime::new(1_000));
        (Fixed::new(host, Rc::clone(&time)), time)
    })
}

/// No clock that anybody may ask.
fn never() -> Timestamp {
    panic!("the machine's clock is asked")
}

type Listed = Vec<(u64, u64, Filetype, Vec<u8>)>;

fn list(fs: &mut Fixed, dir: Handle, cookie: u64) -> Listed {
    let mut all = Vec::new();
    let mut sink = |entry: DirEntry<'_>| {
        all.push((entry.next, entry.ino, entry.filetype, entry.name.to_vec()));
        true
    };
    fs.read_dir(dir, cookie, &mut sink, &mut never).unwrap();
    all
}

/// What a guest sees that does all kinds of things, the clock going on by one before each.
fn seen(mut fs: Fixed, time: &VirtualTime) -> (Vec<Listed>, Vec<Stat>) {
    let mut left = time.fuel();
    let mut tick = || {
        left -= 1;
        time.set_left(left);
    };
    let root = fs.root();
    let handle = fs.open(root, Access::READ).unwrap();
    let mut stats = Vec::new();
    let mut lists = Vec::new();
    let stat = |fs: &mut Fixed, name: &[u8]| {
        let node = fs.lookup(root, name).unwrap().node;
        fs.stat(node).unwrap()
    };
    stats.push(fs.stat(root).unwrap());
    lists.push(list(&mut fs, handle, 0));
    for name in [b"c" as &[u8], b"a", b"dir"] {
        stats.push(stat(&mut fs, name));
    }
    tick();
    let a = fs.lookup(root, b"a").unwrap().node;
    let file = fs.open(a, WRITE).unwrap();
    assert_eq!(fs.write(file, 1, b"xyz-", &mut never), Ok(4));
    stats.push(stat(&mut fs, b"a"));
    tick();
    fs.create(root, b"new", &mut never).unwrap();
    fs.create_dir(root, b"new dir", &mut never).unwrap();
    fs.create_link(root, b"link", b"a", &mut never).unwrap();
    tick();
    fs.hard_link(a, root, b"other", &mut never).unwrap();
    tick();
    fs.rename(root, b"b", root, b"z", &mut never).unwrap();
    for name in [b"new" as &[u8], b"new dir", b"link", b"other", b"z"] {
        stats.push(stat(&mut fs, name));
    }
    // Where it was: what was created since does not show before the beginning is read again.
    lists.push(list(&mut fs, handle, 2));
    lists.push(list(&mut fs, handle, 0));
    tick();
    // A number that the file system beneath gives again is another file's.
    fs.unlink(root, b"new", &mut never).unwrap();
    fs.create(root, b"new", &mut never).unwrap();
    stats.push(stat(&mut fs, b"new"));
    fs.unlink(root, b"other", &mut never).unwrap();
    fs.remove_dir(root, b"dir", &mut never).unwrap();
    fs.set_times(a, Some(5), None, &mut never).unwrap();
    fs.set_size(file, 2, &mut never).unwrap();
    stats.push(stat(&mut fs, b"a"));
    stats.push(fs.stat(root).unwrap());
    fs.close(file);
    fs.close(handle);
    (lists, stats)
}

#[test]
fn hosts_with_the_same_files_look_the_same() {
    let [(one, first), (other, second)] = both();
    let (lists, stats) = seen(one, &first);
    assert_eq!((lists.clone(), stats.clone()), seen(other, &second));

    let names: Vec<_> = lists[0].iter().map(|(.., name)| &**name).collect();
    assert_eq!(names, [&b"a"[..], b"b", b"c", b"dir"]);
    let cookies: Vec<_> = lists[0].iter().map(|(next, ..)| *next).collect();
    assert_eq!(cookies, [1, 2, 3, 4]);
    assert_eq!(lists[1], lists[0][2..]);
    let names: Vec<_> = lists[2].iter().map(|(.., name)| &**name).collect();
    let all = [
        &b"a"[..],
        b"c",
        b"dir",
        b"link",
        b"new",
        b"new dir",
        b"other",
        b"z",
    ];
    assert_eq!(names, all);

    let root = stats[0];
    assert_eq!((root.ino, root.nlink, root.size, root.mtim), (1, 1, 0, START));
    // In the order of their names, since that is how the guest met them.
    assert_eq!(
        stats[1..4].iter().map(|stat| stat.ino).collect::<Vec<_>>(),
        [4, 2, 5]
    );
    assert!(
        stats[1..4]
            .iter()
            .all(|stat| stat.mtim == START && stat.atim == START)
    );
    assert_eq!((stats[4].mtim, stats[4].ctim), (START + 1, START + 1));
    assert_eq!((stats[5].ino, stats[5].mtim), (6, START + 2));
    assert_eq!((stats[8].ino, stats[8].nlink, stats[8].ctim), (2, 2, START + 3));
    assert_eq!((stats[9].ino, stats[9].ctim), (3, START + 4));
    let last = stats[11];
    assert_eq!((last.atim, last.size, last.mtim), (5, 2, START + 5));
}

#[test]
fn what_is_not_open_is_badf() {
    let [(mut fs, _), _] = both();
    let mut buf = [0; 1];
    assert_eq!(fs.read(Handle(0), 0, &mut buf, &mut never), Err(Errno::BADF));
    let root = fs.root();
    let handle = fs.open(root, Access::READ).unwrap();
    fs.close(handle);
    assert_eq!(fs.flush(handle), Err(Errno::BADF));
    assert_eq!(fs.open(root, Access::READ), Ok(handle));
}

#[test]
fn only_links_that_the_guest_has_made_count() {
    let mut host = host(&["a", "b"], 0, 0);
    let root = host.root();
    let a = host.lookup(root, b"a").unwrap().node;
    host.hard_link(a, root, b"twin", &mut || 0).unwrap();
    let mut fs = Fixed::new(host, Rc::new(VirtualTime::new(1_000)));
    let links = |fs: &mut Fixed, name: &[u8]| fs.lookup(root, name).map(|found| found.stat.unwrap().nlink);

    assert_eq!([links(&mut fs, b"a"), links(&mut fs, b"twin")], [Ok(1), Ok(1)]);
    fs.hard_link(a, root, b"c", &mut never).unwrap();
    assert_eq!([links(&mut fs, b"a"), links(&mut fs, b"twin")], [Ok(2), Ok(2)]);
    // Both are one file, and stay.
    fs.rename(root, b"a", root, b"c", &mut never).unwrap();
    assert_eq!([links(&mut fs, b"a"), links(&mut fs, b"c")], [Ok(2), Ok(2)]);
    // One name less.
    fs.rename(root, b"b", root, b"c", &mut never).unwrap();
    assert_eq!([links(&mut fs, b"a"), links(&mut fs, b"c")], [Ok(1), Ok(1)]);
    fs.unlink(root, b"a", &mut never).unwrap();
    assert_eq!(links(&mut fs, b"a"), Err(Errno::NOENT));
    // The host's other name of it.
    assert_eq!(links(&mut fs, b"twin"), Ok(1));
    let twin = fs.lookup(root, b"twin").unwrap().node;
    let handle = fs.open(twin, Access::READ).unwrap();
    fs.unlink(root, b"twin", &mut never).unwrap();
    assert_eq!(fs.stat(twin).unwrap().nlink, 0);
    fs.close(handle);
}
