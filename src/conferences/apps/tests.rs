use super::*;
use crate::store::{Claims as _, MemoryStore};

const SECRET: &str = "first-secret-0123456789";

#[derive(Default)]
struct Paper(parking_lot::Mutex<String>);

impl KeyFile for Paper {
    fn keep(&self, app: &AppId, secret: &str) -> io::Result<()> {
        *self.0.lock() = format!("{app}.{secret}");
        Ok(())
    }
}

fn id(text: &str) -> AppId {
    AppId::parse(text).unwrap()
}

async fn apps(store: &Arc<MemoryStore>) -> Apps {
    Apps::open(store.clone(), &id("main"), SECRET).await.unwrap()
}

#[tokio::test]
async fn an_app_and_its_limits_are_back_after_a_start() {
    let store = Arc::new(MemoryStore::new());
    let limits = AppLimits { rooms_per_day_max: Some(100), conferences_max: None };
    apps(&store).await.add(&id("shop"), "secret-of-shop", limits).await.unwrap();
    let again = apps(&store).await;
    assert_eq!(again.authenticate("shop.secret-of-shop"), Some(id("shop")));
    assert_eq!(again.limits(&id("shop")), limits);
    assert_eq!(again.limits(&id("nobody")), AppLimits::default());
    let told: Vec<_> = again.list().into_iter().map(|app| (app.id, app.is_first)).collect();
    assert_eq!(told, [(id("main"), true), (id("shop"), false)]);
}

#[tokio::test]
async fn an_app_of_an_earlier_release_has_no_limits() {
    let store = Arc::new(MemoryStore::new());
    let value = Bytes::from_static(br#"{"secrets":["old-secret"]}"#);
    store.put(&app_claim(&id("old")).unwrap(), None, value).await.unwrap();
    let apps = apps(&store).await;
    assert_eq!(apps.authenticate("old.old-secret"), Some(id("old")));
    assert_eq!(apps.limits(&id("old")), AppLimits::default());
}

#[tokio::test]
async fn both_secrets_hold_until_one_is_ended() {
    let store = Arc::new(MemoryStore::new());
    let apps = apps(&store).await;
    let app = id("shop");
    apps.add(&app, "one", AppLimits::default()).await.unwrap();
    let valid = |apps: &Apps| {
        let holds = |secret: &&&str| apps.authenticate(&format!("shop.{secret}")).is_some();
        ["one", "two", "three"].iter().filter(holds).copied().collect::<Vec<_>>()
    };
    apps.finish_rotation(&app).await.unwrap_err();
    assert_eq!(apps.rotate(&app, "two").await.unwrap().secret_count, 2);
    assert_eq!(valid(&apps), ["one", "two"]);
    assert_eq!(apps.with_secrets(&app, |secret| Some(secret.to_owned())).as_deref(), Some("two"));
    apps.rotate(&app, "three").await.unwrap_err();
    apps.cancel_rotation(&app).await.unwrap();
    assert_eq!(valid(&apps), ["one"]);
    apps.rotate(&app, "three").await.unwrap();
    apps.finish_rotation(&app).await.unwrap();
    assert_eq!(valid(&apps), ["three"]);
    assert_eq!(valid(&Apps::open(store, &id("main"), SECRET).await.unwrap()), ["three"]);
}

#[tokio::test]
async fn an_app_that_is_not_there_costs_an_attempt_as_well_and_gives_nothing() {
    let apps = apps(&Arc::new(MemoryStore::new())).await;
    for app in [id("main"), id("nobody")] {
        let mut attempts = 0;
        let found = apps.with_secrets(&app, |secret| {
            attempts += 1;
            (app == id("main")).then(|| secret.to_owned())
        });
        assert_eq!((attempts, found.is_some()), (1, app == id("main")), "{app}");
    }
    assert_eq!(apps.with_secrets(&id("nobody"), |secret| Some(secret.to_owned())), None);
    let mut tried = String::new();
    apps.with_secrets(&id("nobody"), |secret| {
        tried.push_str(secret);
        Some(())
    });
    assert_eq!(apps.authenticate(&format!("nobody.{tried}")), None);
}

#[tokio::test]
async fn the_key_file_follows_the_first_app_and_no_other() {
    let store = Arc::new(MemoryStore::new());
    let paper = Arc::new(Paper::default());
    let apps = apps(&store).await.with_key_file(paper.clone());
    let written = || paper.0.lock().clone();
    apps.add(&id("shop"), "one", AppLimits::default()).await.unwrap();
    apps.rotate(&id("shop"), "two").await.unwrap();
    assert_eq!(written(), "");
    apps.rotate(&id("main"), "newer").await.unwrap();
    assert_eq!(written(), "main.newer");
    assert_eq!(first_key(&*store).await.unwrap(), Some((id("main"), "newer".to_owned())));
    apps.cancel_rotation(&id("main")).await.unwrap();
    assert_eq!(written(), format!("main.{SECRET}"));
    apps.rotate(&id("main"), "newest").await.unwrap();
    apps.finish_rotation(&id("main")).await.unwrap();
    assert_eq!(written(), "main.newest");
}

#[tokio::test]
async fn the_key_file_decides_about_the_first_app() {
    let store = Arc::new(MemoryStore::new());
    assert_eq!(first_key(&*store).await.unwrap(), None);
    drop(apps(&store).await);
    assert_eq!(first_key(&*store).await.unwrap(), Some((id("main"), SECRET.to_owned())));
    let replaced = Apps::open(store.clone(), &id("main"), "another-secret").await.unwrap();
    assert!(replaced.authenticate(&format!("main.{SECRET}")).is_none());
    assert!(replaced.authenticate("main.another-secret").is_some());
    Apps::open(store.clone(), &id("second"), "its-secret").await.unwrap();
    assert_eq!(first_key(&*store).await.unwrap(), Some((id("second"), "its-secret".to_owned())));
}

#[tokio::test]
async fn a_removed_app_is_nobody_and_its_name_is_not_given_again() {
    let store = Arc::new(MemoryStore::new());
    let apps = apps(&store).await;
    let shop = id("shop");
    apps.add(&shop, "one", AppLimits::default()).await.unwrap();
    apps.add(&shop, "two", AppLimits::default()).await.unwrap_err();
    let removal = apps.begin_removal(&shop).await.unwrap();
    assert!(apps.authenticate("shop.one").is_none(), "nobody acts for it while its conferences end");
    drop(removal);
    assert!(apps.authenticate("shop.one").is_some(), "a removal that was given up");
    apps.begin_removal(&shop).await.unwrap().finish().await.unwrap();
    for apps in [apps, Apps::open(store.clone(), &id("main"), SECRET).await.unwrap()] {
        assert!(apps.authenticate("shop.one").is_none());
        assert!(apps.with_secrets(&shop, |_| Some(())).is_none());
        assert_eq!(apps.list().len(), 1);
        let detail = apps.add(&shop, "two", AppLimits::default()).await.unwrap_err().detail;
        assert!(detail.contains("choose another name"), "{detail}");
        for refused in [
            apps.rotate(&shop, "two").await.unwrap_err(),
            apps.begin_removal(&shop).await.map(drop).unwrap_err(),
        ] {
            assert_eq!(refused.reason, Reason::NotFound);
        }
    }
}

#[tokio::test]
async fn the_first_app_stays() {
    let apps = apps(&Arc::new(MemoryStore::new())).await;
    let detail = apps.begin_removal(&id("main")).await.map(drop).unwrap_err().detail;
    assert!(detail.contains("rotate it"), "{detail}");
    assert!(apps.authenticate(&format!("main.{SECRET}")).is_some());
}
