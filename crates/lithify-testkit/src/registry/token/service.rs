//! Who may do what, and the tokens that say so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::jwt::Signer;
use super::{Asked, TokenServer};
use crate::registry::http::{form, rfc3339};
use crate::registry::lock::lock;
use crate::registry::server::Service;
use crate::registry::{Answer, Kind, Request};

/// By how much `docker-registry` lets clocks differ (`Leeway` of its package `registry/auth/token`).
const LEEWAY: u64 = 60;

#[derive(Debug)]
pub(in crate::registry) struct State {
    pub(super) signer: Signer,
    pub(super) table: Mutex<Table>,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) users: BTreeMap<String, User>,
    pub(super) anonymous: Vec<Grant>,
    /// Who a refresh token stands for.
    pub(super) refresh: BTreeMap<String, String>,
    /// Until when a token is good, and for what.
    pub(super) issued: BTreeMap<String, (Instant, Vec<Access>)>,
    pub(super) asked: Vec<Asked>,
    pub(super) lifetime: Duration,
    pub(super) stated: Option<Option<u64>>,
    pub(super) access_token_only: bool,
    pub(super) post_refused: bool,
    pub(super) html: bool,
    serial: u64,
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) password: String,
    /// Everything where nothing is said.
    pub(super) allowed: Option<Vec<Grant>>,
}

/// Actions on a repository, or on all that begin alike.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    repository: String,
    actions: Vec<String>,
}

impl Grant {
    pub(super) fn new(repository: &str, actions: &[&str]) -> Self {
        let actions = actions.iter().map(|a| (*a).to_owned()).collect();
        Self {
            repository: repository.into(),
            actions,
        }
    }

    fn allows(&self, repository: &str, action: &str) -> bool {
        let named = match self.repository.strip_suffix('*') {
            Some(prefix) => repository.starts_with(prefix),
            None => repository == self.repository,
        };
        named && self.actions.iter().any(|a| a == action || a == "*")
    }
}

/// What one token allows of one repository.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) name: String,
    pub(super) actions: Vec<String>,
}

impl Table {
    pub(super) fn refresh_for(&mut self, user: &str) -> String {
        self.serial += 1;
        let token = format!("refresh-{}-{user}", self.serial);
        self.refresh.insert(token.clone(), user.into());
        token
    }

    /// The part of what is asked that is allowed.
    fn granted(&self, user: Option<&str>, scopes: &[String]) -> Vec<Access> {
        let grants = match user.and_then(|name| self.users.get(name)) {
            Some(user) => user.allowed.as_deref(),
            None => Some(&self.anonymous[..]),
        };
        let parsed = scopes.iter().filter_map(|scope| {
            // A repository's name may hold a port, and with it a colon.
            let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
            let allowed =
                |action: &&str| grants.is_none_or(|all| all.iter().any(|g| g.allows(name, action)));
            let actions = actions
                .split(',')
                .filter(allowed)
                .map(str::to_owned)
                .collect();
            Some(Access {
                name: name.into(),
                actions,
            })
        });
        parsed.collect()
    }
}

/// What a registry checks tokens with.
#[derive(Clone, Debug)]
pub(in crate::registry) struct Verifier(pub(in crate::registry) Arc<State>);

impl Verifier {
    /// Whether a token was issued, is still good, and allows an action on a repository.
    pub(in crate::registry) fn accepts(&self, token: &str, scope: Option<(&str, &str)>) -> bool {
        let table = lock(&self.0.table);
        let Some((until, access)) = table.issued.get(token) else {
            return false;
        };
        Instant::now() < *until
            && scope.is_none_or(|(repository, action)| {
                access.iter().any(|a| {
                    a.name == repository && a.actions.iter().any(|x| x == action || x == "*")
                })
            })
    }
}

impl State {
    pub(super) fn new() -> Self {
        let table = Table {
            users: BTreeMap::new(),
            anonymous: Vec::new(),
            refresh: BTreeMap::new(),
            issued: BTreeMap::new(),
            asked: Vec::new(),
            lifetime: Duration::from_secs(300),
            stated: None,
            access_token_only: false,
            post_refused: false,
            html: false,
            serial: 0,
        };
        Self {
            signer: Signer::new(),
            table: Mutex::new(table),
        }
    }

    /// Signs a token and remembers it.
    pub(super) fn issue(&self, user: &str, access: &[Access]) -> String {
        let (lifetime, serial) = {
            let mut table = lock(&self.table);
            table.serial += 1;
            (table.lifetime, table.serial)
        };
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since_epoch.map_or(0, |d| d.as_secs());
        let access_claim: Vec<_> = access
            .iter()
            .map(|a| json!({ "type": "repository", "name": a.name, "actions": a.actions }))
            .collect();
        let token = self.signer.sign(&json!({
            "iss": TokenServer::ISSUER,
            "sub": user,
            "aud": TokenServer::SERVICE,
            "exp": (now + lifetime.as_secs()).saturating_sub(LEEWAY),
            "nbf": now.saturating_sub(LEEWAY),
            "iat": now,
            "jti": serial.to_string(),
            "access": access_claim,
        }));
        let until = Instant::now() + lifetime;
        lock(&self.table)
            .issued
            .insert(token.clone(), (until, access.to_vec()));
        token
    }

    /// Who asks, where that can be told: `Err` for a name without the right proof.
    fn user(
        table: &Table,
        request: &Request,
        fields: &[(String, String)],
    ) -> Result<Option<String>, ()> {
        let right = |name: &str, password: &str| {
            table
                .users
                .get(name)
                .is_some_and(|u| u.password == password)
        };
        let field = |name| field(fields, name).unwrap_or_default();
        if request.method == "POST" {
            return match field("grant_type") {
                "password" if right(field("username"), field("password")) => {
                    Ok(Some(field("username").into()))
                }
                "refresh_token" => {
                    let user = table.refresh.get(field("refresh_token"));
                    user.cloned().map(Some).ok_or(())
                }
                _ => Err(()),
            };
        }
        match (request.authorization(), request.basic()) {
            (None, _) => Ok(None),
            (Some(_), Some((name, password))) if right(&name, &password) => Ok(Some(name)),
            (Some(_), _) => Err(()),
        }
    }
}

impl Service for State {
    fn kind(&self, request: &Request) -> Kind {
        if request.path == "/token" {
            Kind::Token
        } else {
            Kind::Other
        }
    }

    fn answer(&self, request: &Request, body: Vec<u8>) -> Answer {
        if request.path != "/token" {
            return Answer::status(404).body("404 page not found\n");
        }
        let post = request.method == "POST";
        let fields = if post {
            form(&String::from_utf8_lossy(&body))
        } else {
            request.query.clone()
        };
        let scopes: Vec<String> = fields
            .iter()
            .filter(|(name, _)| name == "scope")
            .flat_map(|(_, scopes)| scopes.split_ascii_whitespace().map(str::to_owned))
            .collect();
        let mut table = lock(&self.table);
        let user = Self::user(&table, request, &fields);
        let refused = user.is_err() || (post && table.post_refused);
        let given = !refused && !table.html;
        table.asked.push(Asked {
            method: request.method.clone(),
            grant_type: field(&fields, "grant_type").map(str::to_owned),
            user: user.clone().ok().flatten(),
            service: field(&fields, "service").map(str::to_owned),
            scopes: scopes.clone(),
            given,
        });
        if post && table.post_refused {
            return Answer::status(405).body("method not allowed\n");
        }
        if table.html {
            let page = "<!DOCTYPE html><title>Welcome</title><p>Please sign in.";
            return Answer::status(200)
                .header("Content-Type", "text/html")
                .body(page);
        }
        let Ok(user) = user else {
            return Answer::error(401, "UNAUTHORIZED", "incorrect username or password");
        };
        let access = table.granted(user.as_deref(), &scopes);
        let offline = field(&fields, "offline_token") == Some("true")
            || field(&fields, "access_type") == Some("offline")
            || field(&fields, "grant_type") == Some("refresh_token");
        let refresh = match (&user, field(&fields, "refresh_token")) {
            (_, Some(same)) => Some(same.to_owned()),
            (Some(user), None) if offline => Some(table.refresh_for(user)),
            _ => None,
        };
        let (stated, access_token_only) = (table.stated, table.access_token_only);
        let lifetime = table.lifetime.as_secs();
        drop(table);
        let token = self.issue(user.as_deref().unwrap_or_default(), &access);
        let mut answer = json!({ "access_token": token, "issued_at": rfc3339(SystemTime::now()) });
        if let Some(seconds) = stated.unwrap_or(Some(lifetime)) {
            answer["expires_in"] = seconds.into();
        }
        if !post && !access_token_only {
            answer["token"] = token.into();
        }
        if post {
            answer["scope"] = scopes.join(" ").into();
        }
        if let Some(refresh) = refresh.filter(|_| offline) {
            answer["refresh_token"] = Value::String(refresh);
        }
        Answer::status(200).json(&answer)
    }
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = fields.iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value.as_str())
}
