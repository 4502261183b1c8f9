//! Opening: who may, what is refused, and files of earlier releases.

use super::super::schema::{self, Found, Step};
use super::*;

#[tokio::test]
async fn a_second_opener_is_refused() {
    let folder = TempDir::new().unwrap();
    let first = EmbeddedStore::open(folder.path()).unwrap();
    let error = EmbeddedStore::open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
    first.close().await;
    EmbeddedStore::open(folder.path()).unwrap();
}

#[tokio::test]
async fn one_lock_guards_the_directory_and_the_store() {
    let folder = TempDir::new().unwrap();
    let data_dir = crate::data_dir::DataDir::open(folder.path()).unwrap();
    assert!(matches!(EmbeddedStore::open(folder.path()), Err(OpenError::InUse { .. })));
    let store = EmbeddedStore::open_locked(folder.path(), data_dir.lock().unwrap()).unwrap();
    drop(data_dir);
    crate::data_dir::DataDir::open(folder.path()).unwrap_err();
    store.close().await;
    crate::data_dir::DataDir::open(folder.path()).unwrap();
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name.to_str().unwrap().contains("lock")).count(), 1);
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let refused = |folder: &Path| {
        let error = EmbeddedStore::open(folder).unwrap_err();
        assert!(error.to_string().contains("tidegate.db is not a Tidegate store"), "{error}");
    };
    for content in [&b"x"[..], &b"a text that is longer than the header of a database\n"[..]] {
        fs::write(file(&folder), content).unwrap();
        refused(folder.path());
        assert_eq!(fs::read(file(&folder)).unwrap(), content);
    }
    fs::remove_file(file(&folder)).unwrap();
    let other = Connection::open(file(&folder)).unwrap();
    other.execute_batch("CREATE TABLE theirs (a); PRAGMA user_version = 1;").unwrap();
    other.close().unwrap();
    let before = fs::read(file(&folder)).unwrap();
    refused(folder.path());
    assert_eq!(fs::read(file(&folder)).unwrap(), before);
}

#[test]
fn a_file_of_a_later_release_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    EmbeddedStore::open(folder.path()).unwrap();
    Connection::open(file(&folder)).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let before = fs::read(file(&folder)).unwrap();
    let error = EmbeddedStore::open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 7, known: 2, .. }), "{error:?}");
    let text = error.to_string();
    for part in ["tidegate.db", "version 7", "up to 2", "newer release", "run that release"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(fs::read(file(&folder)).unwrap(), before);
}

#[tokio::test]
async fn a_broken_file_is_named_with_the_way_out() {
    let folder = TempDir::new().unwrap();
    {
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
        fill(&store, &conference(1), 1, 20).await;
    }
    let mut bytes = fs::read(file(&folder)).unwrap();
    bytes[100..].fill(0x5A);
    fs::write(file(&folder), bytes).unwrap();
    let error = EmbeddedStore::open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("restore a backup"), "{error}");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_named() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    let doors: Arc<dyn Store> = Arc::<EmbeddedStore>::clone(&store);
    fill(&doors, &conference(1), 1, 2).await;
    run(&store, "UPDATE records SET body = '[{\"seq\":' WHERE position = 2").await;
    let error = store.read(&conference(1), Revision::START, 9).await.unwrap_err();
    assert!(error.to_string().contains("record 2 of TS_000001 is damaged"), "{error}");
    assert_eq!(store.follow_all(Position::START, 9).await.unwrap_err(), error);
    assert_eq!(store.follow_all(Position::START, 1).await.unwrap().len(), 1);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let error = EmbeddedStore::open(&folder.path().join("file/data")).unwrap_err();
    assert!(matches!(error, OpenError::File { .. }), "{error:?}");
    assert!(error.to_string().contains("file/data"), "{error}");
}

/// Steps that only these tests know, behind the released ones.
fn steps_with(later: &[&'static str]) -> Vec<Step> {
    let next = schema::STEPS.len() + 1;
    let later = later.iter().zip(next..).map(|(sql, to)| Step { to: i64::try_from(to).unwrap(), sql });
    schema::STEPS.iter().copied().chain(later).collect()
}

#[test]
fn the_steps_are_numbered_from_one_without_a_gap() {
    let numbers: Vec<i64> = schema::STEPS.iter().map(|step| step.to).collect();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_older_file_is_brought_up_to_date_with_its_content() {
    let folder = TempDir::new().unwrap();
    {
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
        fill(&store, &conference(1), 1, 3).await;
    }
    let steps = steps_with(&[
        "ALTER TABLE logs ADD COLUMN note TEXT NOT NULL DEFAULT 'from the next step'",
        "UPDATE logs SET note = note || ', then another'",
    ]);
    {
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open_with(folder.path(), &steps, None).unwrap());
        assert_eq!(read_all(&store, &conference(1)).await.len(), 3);
        fill(&store, &conference(1), 4, 1).await;
    }
    // Each step runs once.
    drop(EmbeddedStore::open_with(folder.path(), &steps, None).unwrap());
    let connection = Connection::open(file(&folder)).unwrap();
    assert_eq!(schema::find(&connection).unwrap(), Found::Version(4));
    let note: String = connection.query_row("SELECT note FROM logs", [], |row| row.get(0)).unwrap();
    assert_eq!(note, "from the next step, then another");
}

#[tokio::test]
async fn a_file_of_version_1_learns_which_logs_ended_and_whose_they_are() {
    let folder = TempDir::new().unwrap();
    drop(EmbeddedStore::open_with(folder.path(), &schema::STEPS[..1], None).unwrap());
    let (open, ended) = (conference(1), conference(2));
    let text = |record: &Record| serde_json::to_string(record).unwrap();
    let old = Connection::open(file(&folder)).unwrap();
    let record = "INSERT INTO records VALUES (?1, ?2, ?3)";
    old.execute(record, params![1, open.as_str(), text(&contract::creation(&open, "app1"))]).unwrap();
    old.execute(record, params![2, ended.as_str(), text(&contract::creation(&ended, "app2"))]).unwrap();
    old.execute(record, params![3, ended.as_str(), text(&ending(70))]).unwrap();
    old.execute_batch(
        "INSERT INTO logs VALUES ('TS_000001', 1, 0), ('TS_000002', 3, 1);
         INSERT INTO snapshots VALUES ('TS_000002', 2, 1, x'00');
         UPDATE counters SET last_position = 3;",
    )
    .unwrap();
    old.close().unwrap();
    let store = EmbeddedStore::open(folder.path()).unwrap();
    let status = store.status(&open).await.unwrap().unwrap();
    assert_eq!((status.app, status.ended_at), (AppId::parse("app1").ok(), None));
    let status = store.status(&ended).await.unwrap().unwrap();
    assert_eq!((status.app, status.ended_at), (AppId::parse("app2").ok(), Some(Timestamp(70))));
    assert_eq!(store.snapshot(&ended, SnapshotAt::Newest).await.unwrap(), None);
    assert_eq!(store.read(&ended, Revision::START, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_file_at_the_version_before() {
    let folder = TempDir::new().unwrap();
    {
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
        fill(&store, &conference(1), 1, 3).await;
    }
    let steps =
        steps_with(&["CREATE TABLE two (a)", "CREATE TABLE three (a); INSERT INTO nowhere VALUES (1)"]);
    let error = EmbeddedStore::open_with(folder.path(), &steps, None).unwrap_err();
    assert!(matches!(error, OpenError::Upgrade { from: 3, .. }), "{error:?}");
    let connection = Connection::open(file(&folder)).unwrap();
    assert_eq!(schema::find(&connection).unwrap(), Found::Version(3));
    connection.execute_batch("SELECT * FROM two").unwrap();
    connection.execute_batch("SELECT * FROM three").unwrap_err();
    drop(connection);
    // The release that knows up to 3 goes on with it.
    let store: Arc<dyn Store> = Arc::new(
        EmbeddedStore::open_with(folder.path(), &steps_with(&["CREATE TABLE two (a)"]), None).unwrap(),
    );
    assert_eq!(read_all(&store, &conference(1)).await.len(), 3);
}

#[test]
fn a_first_start_that_was_interrupted_is_taken_up_again() {
    let folder = TempDir::new().unwrap();
    // The file exists, the first step has not gone through.
    let broken = [Step { to: 1, sql: "PRAGMA application_id = 1; CREATE TABLE a (b); nonsense" }];
    let error = EmbeddedStore::open_with(folder.path(), &broken, None).unwrap_err();
    assert!(matches!(error, OpenError::Upgrade { from: 0, .. }), "{error:?}");
    EmbeddedStore::open(folder.path()).unwrap();
}
