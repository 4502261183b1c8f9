//! nginx with its RTMP module, as Debian packages it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr as _;

use super::super::link::Target;
use super::super::wire::Url;
use super::{Server, Stream, wait_for};

const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

pub fn start(is_auto: bool, streams: usize) -> Server {
    assert!(
        Path::new(MODULE).exists(),
        "nginx with RTMP is missing: apt-get install nginx libnginx-mod-rtmp, or leave nginx out of --targets"
    );
    let home = tempfile::tempdir().expect("a directory");
    let address: SocketAddr =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let (workers, push) = if is_auto { ("auto", "rtmp_auto_push on;") } else { ("1", "") };
    let config = format!(
        "load_module {MODULE};\n\
         daemon off;\n\
         user root;\n\
         worker_processes {workers};\n\
         worker_rlimit_nofile 20000;\n\
         pid nginx.pid;\n\
         error_log error.log warn;\n\
         {push}\n\
         events {{ worker_connections 19000; }}\n\
         rtmp {{ access_log off; server {{ listen {address}; application live {{ live on; }} }} }}\n"
    );
    fs::write(home.path().join("nginx.conf"), config).expect("a configuration");
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(home.path()).args(["-c", "nginx.conf"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().expect("nginx starts");
    wait_for(address);
    let streams = (0..streams).map(|number| {
        let url = Url::from_str(&format!("rtmp://{address}/live/stream{number}")).expect("a URL");
        Stream { publish: Target::Rtmp(url.clone()), play: vec![Target::Rtmp(url)] }
    });
    let process = Some(child.id());
    Server { process, child: Some(child), streams: streams.collect(), _home: Some(home) }
}
