//! Deadlines. A test never waits for time to pass; it waits for something and gives up loudly.

use std::future::Future;
use std::time::Duration;

/// How long anything that ought to happen at once may take before the test fails. Generous, because two cores
/// may be running a compiler beside the test; a passing test never comes near it.
pub const EVENT: Duration = Duration::from_secs(20);

/// The answer of `event`, or a panic that says what was awaited.
pub async fn within<T>(deadline: Duration, what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(deadline, event).await {
        Ok(answer) => answer,
        Err(_) => panic!("not within {deadline:?}: {what}"),
    }
}

/// Asks again and again until `probe` gives an answer: for what can only be seen by asking (an expiry, a state).
pub async fn until<T, F>(deadline: Duration, what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    within(deadline, what, async {
        loop {
            pace.tick().await;
            if let Some(answer) = probe().await {
                return answer;
            }
        }
    })
    .await
}
