//! A connection that can die and be replaced, without ever becoming a connection to something else.
//!
//! Browsers close connections by themselves (suspended phones, cleared data, a crashed storage process),
//! and another tab closes ours when it deletes the database. The next call opens again, once, and checks
//! that it is still the same incarnation. Not here: requests (`mod.rs`), finding databases (`open`).

use super::error;
use super::transaction::{Mode, Transaction};
use super::{open, schema};
use crate::core::error::{Code, Error, Result};
use crate::storage::memory::closed;
use futures_util::lock::Mutex;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{IdbDatabase, IdbVersionChangeEvent};

/// A named database, and the way to it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) name: String,
    /// The third argument of `IDBDatabase.transaction`.
    options: JsValue,
    incarnation: String,
    slot: RefCell<Option<Rc<Handle>>>,
    shut: Cell<bool>,
    news: News,
    /// Held while opening, so that calls that meet a dead connection open one new one together.
    opening: Mutex<()>,
}

/// What happened to a connection that was open. The next call opens another one, or says why it cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The browser closed it: data cleared, disk error, its storage process gone.
    Closed,
    /// Another tab deletes the database, or somebody else's script.
    Deleted,
    /// A newer version of this code, in another tab, changes the database.
    Outdated,
}

/// Who wants to hear of it.
#[derive(Clone, Default)]
struct News(Rc<RefCell<Option<Listener>>>);

type Listener = Rc<dyn Fn(Gone)>;

impl std::fmt::Debug for News {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("News")
    }
}

impl News {
    fn tell(&self, how: Gone) {
        // The listener may make calls that look for it.
        let listener = self.0.borrow().clone();
        if let Some(listener) = listener {
            listener(how);
        }
    }
}

/// A call that was made while the connection was not closed. Its clones begin further transactions of the same call.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    connection: Rc<Connection>,
    handle: Option<Rc<Handle>>,
}

/// One open `IDBDatabase`. Dropping it closes it; running transactions still finish.
#[derive(Debug)]
struct Handle {
    db: IdbDatabase,
    alive: Rc<Cell<bool>>,
    _gone: Closure<dyn FnMut(IdbVersionChangeEvent)>,
}

impl Connection {
    /// Opens the database, creating it where there is none.
    pub(super) async fn open(name: &str, options: JsValue) -> Result<Self> {
        let (owned, opts, news) = (name.to_owned(), options.clone(), News::default());
        let opened = open::patiently({
            let news = news.clone();
            async move {
                let db = match open::find(&owned).await? {
                    Some(db) => db,
                    None => {
                        schema::create(&owned).await?;
                        open::find(&owned).await?.ok_or_else(|| lost("it was deleted while it was created"))?
                    }
                };
                Handle::identified(db, &news, &opts).await
            }
        });
        Ok(Self::on(name, options, news, opened.await?))
    }

    /// Takes over a connection that is open.
    pub(super) fn over(name: &str, options: JsValue, db: IdbDatabase, incarnation: String) -> Self {
        let news = News::default();
        let handle = Handle::new(db, &news);
        Self::on(name, options, news, (handle, incarnation))
    }

    fn on(name: &str, options: JsValue, news: News, (handle, incarnation): (Handle, String)) -> Self {
        Self {
            name: name.to_owned(),
            options,
            incarnation,
            slot: RefCell::new(Some(Rc::new(handle))),
            shut: Cell::new(false),
            news,
            opening: Mutex::new(()),
        }
    }

    /// Lets a call in. From here on a `close` does not take its connection away.
    pub(super) fn admit(self: &Rc<Self>) -> Result<Admitted> {
        Ok(Admitted { handle: self.current()?, connection: Rc::clone(self) })
    }

    /// Refuses every call from now on. Transactions under way finish.
    pub(super) fn shut(&self) {
        self.shut.set(true);
        self.slot.take();
    }

    /// Lets go of the connection; the next call opens one.
    pub(super) fn let_go(&self) {
        self.slot.take();
    }

    /// Who is told when the connection goes.
    pub(super) fn listen(&self, tell: Listener) {
        self.news.0.replace(Some(tell));
    }

    fn current(&self) -> Result<Option<Rc<Handle>>> {
        if self.shut.get() {
            return Err(closed());
        }
        Ok(self.slot.borrow().as_ref().filter(|handle| handle.alive.get()).map(Rc::clone))
    }

    async fn handle(&self) -> Result<Rc<Handle>> {
        if let Some(handle) = self.current()? {
            return Ok(handle);
        }
        let _opening = self.opening.lock().await;
        if let Some(handle) = self.current()? {
            return Ok(handle);
        }
        let (name, options, news) = (self.name.clone(), self.options.clone(), self.news.clone());
        let (handle, incarnation) = open::patiently(async move {
            let db = open::find(&name).await?.ok_or_else(|| lost("it is gone"))?;
            Handle::identified(db, &news, &options).await
        })
        .await?;
        if incarnation != self.incarnation {
            return Err(lost("another one has its name now"));
        }
        if self.shut.get() {
            return Err(closed());
        }
        let handle = Rc::new(handle);
        self.slot.replace(Some(Rc::clone(&handle)));
        Ok(handle)
    }
}

impl Admitted {
    /// Begins the transaction of this call. A dead connection is replaced, once.
    pub(super) async fn begin(self, stores: &JsValue, mode: Mode) -> Result<Transaction> {
        let Self { connection, mut handle } = self;
        let mut reopened = false;
        loop {
            let using = match handle.take().filter(|handle| handle.alive.get()) {
                Some(handle) => handle,
                None => connection.handle().await?,
            };
            match Transaction::begin(&using.db, stores, mode, &connection.options) {
                Ok(transaction) => return Ok(transaction),
                // `transaction` threw, so nothing ran: trying again cannot do anything twice.
                Err(value) if !reopened && error::connection_is_gone(&value) => {
                    using.alive.set(false);
                    reopened = true;
                }
                Err(value) => return Err(error::thrown(&value)),
            }
        }
    }
}

impl Handle {
    /// A connection, and which life of its database it leads to.
    async fn identified(db: IdbDatabase, news: &News, options: &JsValue) -> Result<(Self, String)> {
        let handle = Self::new(db, news);
        let incarnation = schema::identify(&handle.db, options).await?;
        Ok((handle, incarnation))
    }

    fn new(db: IdbDatabase, news: &News) -> Self {
        let alive = Rc::new(Cell::new(true));
        let gone = Closure::<dyn FnMut(IdbVersionChangeEvent)>::new({
            let (db, alive, news) = (db.clone(), Rc::clone(&alive), news.clone());
            move |event: IdbVersionChangeEvent| {
                alive.set(false);
                db.close();
                let how = match event.type_().as_str() {
                    "close" => Gone::Closed,
                    _ if event.new_version().is_some() => Gone::Outdated,
                    _ => Gone::Deleted,
                };
                news.tell(how);
            }
        });
        // Another tab wants to delete or change it: let go at once, or that tab waits for ever.
        db.set_onversionchange(Some(gone.as_ref().unchecked_ref()));
        // The browser closed it.
        db.set_onclose(Some(gone.as_ref().unchecked_ref()));
        Self { db, alive, _gone: gone }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.db.set_onversionchange(None);
        self.db.set_onclose(None);
        self.db.close();
    }
}

fn lost(how: &str) -> Error {
    Error::new(Code::StorageLost, format!("the database was deleted: {how}"))
}
