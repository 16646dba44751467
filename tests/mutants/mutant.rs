//! A single change of the schema, and all of them.

use anyhow::{Context, Result, bail};
use sqlx::{FromRow, PgConnection};

use super::{
    expression::{Language, changes},
    rules,
};

/// A single change of the schema.
#[derive(Clone, Debug, FromRow, PartialEq, Eq)]
pub(super) struct Mutant {
    /// The kind of the change, by which it is counted.
    pub(super) kind: String,
    /// What is changed, and how.
    pub(super) subject: String,
    /// The table or view that it is about; empty for none.
    pub(super) relation: String,
    /// The role that it is about; empty for all.
    pub(super) role: String,
    /// The statements that apply it.
    pub(super) apply: String,
}

/// A text in the catalog that is changed in several ways.
#[derive(FromRow)]
struct Text {
    kind: String,
    subject: String,
    relation: String,
    role: String,
    template: String,
    expression: String,
}

impl Mutant {
    /// Generates every change from the catalog of the database. The search_path of the connection is empty.
    pub(super) async fn generate(superuser: &mut PgConnection) -> Result<Vec<Self>> {
        let mut mutants: Vec<Self> = sqlx::query_as(include_str!("generate/objects.sql"))
            .fetch_all(&mut *superuser)
            .await
            .context("generate/objects.sql")?;
        for text in texts(superuser).await? {
            mutants.extend(text.mutants());
        }
        if mutants.is_empty() {
            bail!("the catalog has nothing to change");
        }
        Ok(mutants)
    }

    /// Returns a mutant that stores every text again as it is. It changes nothing, so no check may notice it.
    pub(super) async fn without_a_change(superuser: &mut PgConnection) -> Result<Self> {
        let texts = texts(superuser).await?.into_iter();
        let same = texts.map(|text| text.template.replace("{}", &text.expression));
        Ok(Self {
            kind: "nothing changed".to_owned(),
            subject: "every text stored again".to_owned(),
            relation: String::new(),
            role: String::new(),
            apply: same.collect::<Vec<_>>().join("; "),
        })
    }

    /// Returns the name by which a survivor is listed with its reason.
    pub(super) fn name(&self) -> String {
        format!("{}: {}", self.kind, self.subject)
    }
}

async fn texts(superuser: &mut PgConnection) -> Result<Vec<Text>> {
    let texts = sqlx::query_as(include_str!("generate/expressions.sql")).fetch_all(superuser);
    texts.await.context("generate/expressions.sql")
}

impl Text {
    fn mutants(&self) -> Vec<Mutant> {
        let changes = match self.kind.as_str() {
            "body" => changes(&self.expression, Language::Body),
            "CHECK function" => rules::changed(&self.expression),
            _ => changes(&self.expression, Language::Condition),
        };
        let changes = changes.into_iter();
        changes
            .map(|change| Mutant {
                kind: format!("{} {}", self.kind, change.kind),
                subject: format!("{}: {}", self.subject, change.what),
                relation: self.relation.clone(),
                role: self.role.clone(),
                apply: self.template.replace("{}", &change.text),
            })
            .collect()
    }
}
