//! Debian's nginx with the configuration that a case wants.

use std::time::Duration;

use shunt_tests::program::eventually;
use shunt_tests::rig::Side;
use shunt_tests::stage::Stage;
use shunt_tests::{Outcome, ensure};

pub(crate) const PORT: u16 = 8080;

/// nginx as a distribution runs it: a master, workers that drop to another user, and `daemon on`, so that the program
/// started here ends at once and the servers live on without it.
pub(crate) struct Nginx<'a> {
    stage: &'a Stage,
}

impl<'a> Nginx<'a> {
    pub(crate) fn daemon(stage: &'a Stage, workers: u32) -> Outcome<Self> {
        let directory = stage.directory().display();
        Nginx::with_server(stage, workers, &format!("listen {PORT}; root {directory};"))
    }

    /// The same with another server block.
    pub(crate) fn with_server(stage: &'a Stage, workers: u32, server: &str) -> Outcome<Self> {
        let directory = stage.directory().display();
        let configuration = stage.write(
            "nginx.conf",
            format!(
                "daemon on;\nworker_processes {workers};\npid {directory}/nginx.pid;\nerror_log {directory}/nginx.log warn;\n\
                 events {{ worker_connections 1024; }}\n\
                 http {{\n  access_log off;\n  sendfile on;\n  keepalive_requests 1000000;\n\
                 \x20 client_body_temp_path {directory}/body;\n  proxy_temp_path {directory}/proxy;\n\
                 \x20 fastcgi_temp_path {directory}/fastcgi;\n  uwsgi_temp_path {directory}/uwsgi;\n  scgi_temp_path {directory}/scgi;\n\
                 \x20 server {{ {server} }}\n}}\n"
            ),
        )?;
        let path = configuration.to_string_lossy().into_owned();
        let launcher = stage.start("nginx", Side::Server, &["/usr/sbin/nginx", "-c", &path])?;
        launcher.succeed(Duration::from_secs(10))?;
        let nginx = Nginx { stage };
        stage.await_listener(PORT, || true)?;
        Ok(nginx)
    }

    /// Its processes: the master first, then the workers.
    pub(crate) fn pids(&self) -> Outcome<Vec<i32>> {
        let master =
            std::fs::read_to_string(self.stage.path("nginx.pid")).map_err(|e| format!("nginx.pid: {e}"))?;
        let master: i32 = master.trim().parse().map_err(|e| format!("nginx.pid: {e}"))?;
        let children =
            std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
        let workers = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        Ok(std::iter::once(master).chain(workers).collect())
    }

    /// Asks it to stop, as the distribution's scripts do, and sees it gone.
    pub(crate) fn stop(self) -> Outcome {
        let pids = self.pids()?;
        signal(pids[0], libc::SIGQUIT);
        ensure!(
            eventually(Duration::from_secs(10), || pids.iter().all(|pid| !is_alive(*pid))),
            "nginx does not stop within 10 s of SIGQUIT"
        );
        Ok(())
    }
}

pub(crate) fn signal(pid: i32, signal: i32) {
    // SAFETY: `kill` touches no memory; the process belongs to the rig.
    unsafe { libc::kill(pid, signal) };
}

pub(crate) fn is_alive(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // "pid (name) state": a zombie has ended.
    !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}
