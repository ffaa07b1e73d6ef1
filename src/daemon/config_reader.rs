//! Reads the configuration on a separate thread, because a file may be large or its file system stalled. The main
//! thread serves signals, the watchdog and control clients meanwhile.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    config::{ConfigErrors, Loaded, Sources},
    sanitize,
};

/// Maximum time that a caller waits, shorter than the default of `pixeldctl --timeout`.
const READ_TIMEOUT: Duration = Duration::from_secs(8);

/// Reads the configuration for one caller at a time, so that there is at most one thread.
#[derive(Debug, Clone)]
pub struct ConfigReader {
    sources: Sources,
    limit: Duration,
    lock: Arc<AsyncMutex<()>>,
    /// The file that is being read, or was read last.
    file: Arc<Mutex<PathBuf>>,
}

/// The permit to read and apply the configuration. The next caller waits until it is dropped.
#[derive(Debug)]
pub struct ReadPermit {
    guard: OwnedMutexGuard<()>,
    until: Instant,
}

/// Why the configuration was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Config(ConfigErrors),
    #[error("the configuration is still being read for another caller")]
    Busy,
    /// The time limit, and the file that is being read; empty while folders are searched.
    #[error("the configuration was not read within {} s{}", .0.as_secs_f64(), being_read(.1))]
    TimedOut(Duration, PathBuf),
    #[error("cannot start a thread to read the configuration: {0}")]
    Thread(io::Error),
    /// The panic hook has logged the panic.
    #[error("reading the configuration has panicked; see the log")]
    Panicked,
}

fn being_read(file: &Path) -> String {
    if file.as_os_str().is_empty() { String::new() } else { format!("; reading {}", sanitize::path(file)) }
}

impl ConfigReader {
    pub fn new(sources: Sources) -> Self {
        Self { sources, limit: READ_TIMEOUT, lock: Arc::default(), file: Arc::default() }
    }

    /// Waits until no other caller reads or applies the configuration.
    ///
    /// # Errors
    /// [`ReadError::Busy`] when that takes too long.
    pub async fn acquire(&self) -> Result<ReadPermit, ReadError> {
        let until = Instant::now() + self.limit;
        let guard = timeout_at(until, self.lock.clone().lock_owned()).await.map_err(|_| ReadError::Busy)?;
        Ok(ReadPermit { guard, until })
    }

    /// Reads the configuration. A read that exceeds the time limit keeps the permit until it ends.
    pub async fn read(&self, permit: ReadPermit) -> Result<(ReadPermit, Loaded), ReadError> {
        self.run(permit, |reader| reader.sources.load_with(|file| reader.set_file(file.into()))).await
    }

    async fn run(
        &self,
        permit: ReadPermit,
        load: impl FnOnce(&Self) -> Result<Loaded, ConfigErrors> + Send + 'static,
    ) -> Result<(ReadPermit, Loaded), ReadError> {
        let ReadPermit { guard, until } = permit;
        let (done, result) = oneshot::channel();
        let reader = self.clone();
        self.set_file(PathBuf::new());
        thread::Builder::new()
            .name("pixeld-config".into())
            // The permit is dropped here if the caller no longer waits.
            .spawn(move || drop(done.send((load(&reader), guard))))
            .map_err(ReadError::Thread)?;
        match timeout_at(until, result).await {
            Ok(Ok((Ok(loaded), guard))) => Ok((ReadPermit { guard, until }, loaded)),
            Ok(Ok((Err(errors), _))) => Err(ReadError::Config(errors)),
            Ok(Err(_)) => Err(ReadError::Panicked),
            Err(_) => Err(ReadError::TimedOut(self.limit, self.file())),
        }
    }

    fn set_file(&self, file: PathBuf) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
    }

    fn file(&self) -> PathBuf {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn reader(limit: Duration) -> ConfigReader {
        ConfigReader { limit, ..ConfigReader::new(Sources::File("/dev/null".into())) }
    }

    fn load() -> Result<Loaded, ConfigErrors> {
        Sources::File("/dev/null".into()).load()
    }

    #[tokio::test]
    async fn hanging_file_is_named_and_blocks_reloads() {
        let reader = reader(Duration::from_millis(50));
        let (release, hang) = mpsc::channel::<()>();
        let permit = reader.acquire().await.unwrap();
        let hung = reader.run(permit, move |reader| {
            reader.set_file("/etc/pixeld/pixeld.toml".into());
            let _ = hang.recv();
            load()
        });
        let error = hung.await.unwrap_err();
        assert!(
            matches!(&error, ReadError::TimedOut(_, file) if file == Path::new("/etc/pixeld/pixeld.toml"))
        );
        assert!(matches!(reader.acquire().await, Err(ReadError::Busy)), "one thread at a time");
        drop(release);
        let patient = ConfigReader { limit: Duration::from_secs(10), ..reader };
        let permit = patient.acquire().await.expect("the permit ends with the thread");
        patient.run(permit, |_| load()).await.expect("the next caller is served");
    }

    #[tokio::test]
    async fn reload_callers_are_serialized() {
        let reader = reader(Duration::from_secs(10));
        let permit = reader.acquire().await.unwrap();
        let (permit, _) = reader.run(permit, |_| load()).await.unwrap();
        let mut next = std::pin::pin!(reader.acquire());
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        drop(permit);
        next.await.unwrap();
    }

    #[tokio::test]
    async fn reader_panic_is_an_error() {
        let reader = reader(Duration::from_secs(10));
        let permit = reader.acquire().await.unwrap();
        let error = reader.run(permit, |_| std::panic::panic_any("on purpose")).await.unwrap_err();
        assert!(matches!(error, ReadError::Panicked));
        reader.acquire().await.expect("the permit has ended");
    }
}
