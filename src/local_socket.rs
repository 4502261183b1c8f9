//! The control socket: where commands on the same machine reach the running gateway. It lies in the data directory, so
//! that whoever may enter there may administer, and nobody else.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// Its name in the data directory.
pub const FILE_NAME: &str = "control.sock";
/// Only the server's own user may connect.
const SOCKET_MODE: u32 = 0o600;
/// Longest path of a socket: `sun_path` of unix(7) has 108 bytes, one of them for the zero at its end.
const PATH_BYTES_MAX: usize = 107;
/// Commands are typed by people; a few at once are many.
const BACKLOG: i32 = 16;

/// A path under which the system finds the socket, for as long as this value lives.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    _folder: Option<File>,
}

impl SocketPath {
    /// The socket of the data directory `data_dir`. A path that is longer than a socket's may be leads through an open
    /// handle of the folder instead, which is short.
    pub fn of(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(FILE_NAME);
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(Self { path, _folder: None });
        }
        let folder = File::open(data_dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{FILE_NAME}", folder.as_raw_fd()));
        Ok(Self { path, _folder: Some(folder) })
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.path
    }
}

/// A socket that listens. Dropped, it is gone from the folder.
#[derive(Debug)]
pub struct LocalSocket {
    /// Non-blocking.
    pub listener: UnixListener,
    /// Its place in the folder.
    pub file: SocketFile,
}

/// The name of a socket in its folder, which ends with this value.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // What cannot be removed is replaced by the next start.
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens in `data_dir`, which the caller has locked: a socket that is there already was left by a crash.
pub fn bind(data_dir: &Path) -> io::Result<LocalSocket> {
    let file = data_dir.join(FILE_NAME);
    match fs::symlink_metadata(&file) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(&file)?,
        Ok(_) => {
            let why = format!("{} is not a socket; move it away", file.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let path = SocketPath::of(data_dir)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path.as_path())?)?;
    let file = SocketFile(file);
    // Before anybody can connect, which takes a socket that listens.
    fs::set_permissions(&file.0, Permissions::from_mode(SOCKET_MODE))?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(LocalSocket { listener: socket.into(), file })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn talks(data_dir: &Path, socket: &LocalSocket) {
        let mut client = UnixStream::connect(SocketPath::of(data_dir).unwrap().as_path()).unwrap();
        client.write_all(b"x").unwrap();
        drop(client);
        let mut text = String::new();
        let (mut server, _) = socket.listener.accept().unwrap();
        server.set_nonblocking(false).unwrap();
        server.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }

    #[test]
    fn the_socket_is_private_and_ends_with_its_value() {
        let data = tempfile::tempdir().unwrap();
        let socket = bind(data.path()).unwrap();
        let file = data.path().join(FILE_NAME);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        talks(data.path(), &socket);
        drop(socket);
        assert!(!file.exists());
    }

    #[test]
    fn what_a_crash_left_is_replaced_and_anything_else_stays() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join(FILE_NAME);
        drop(UnixListener::bind(&file).unwrap());
        assert!(file.exists());
        talks(data.path(), &bind(data.path()).unwrap());
        fs::write(&file, "mine").unwrap();
        let line = bind(data.path()).unwrap_err().to_string();
        assert!(line.contains("is not a socket; move it away"), "{line}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }

    #[test]
    fn a_folder_with_a_long_path_has_a_socket_too() {
        let data = tempfile::tempdir().unwrap();
        let deep = data.path().join("x".repeat(PATH_BYTES_MAX));
        fs::create_dir(&deep).unwrap();
        let socket = bind(&deep).unwrap();
        talks(&deep, &socket);
        drop(socket);
        assert!(!deep.join(FILE_NAME).exists());
    }
}
