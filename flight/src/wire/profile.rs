//! Which Arrow types a client is sent.
//!
//! What each client reads was measured with 56 types; the profiles are the groups that came out of it.

/// A set of types that a group of clients reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Profile {
    /// What every measured client reads.
    Safe = 0,
    /// ODBC and Grafana: text, numbers and nanoseconds; nested values as JSON text.
    Bi = 1,
    /// Clients of Arrow: views, dictionaries and unsigned numbers as they are.
    Native = 2,
    /// Java Database Connectivity: unsigned numbers as the next larger signed ones.
    Jdbc = 3,
    /// The JDBC driver up to 18, of which 18.3 cannot read a timestamp with a zone: all are in UTC, and do not say so.
    JdbcUnzoned = 4,
}

impl Profile {
    const NAMES: [(Self, &str); 5] = [
        (Self::Safe, "safe"),
        (Self::Bi, "bi"),
        (Self::Native, "native"),
        (Self::Jdbc, "jdbc"),
        (Self::JdbcUnzoned, "jdbc-unzoned"),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMES
            .into_iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(profile, _)| profile)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.into_iter().find(|(profile, _)| *profile == self).map_or("", |(_, name)| name)
    }

    /// All names, for a message.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().map(|(_, name)| name)
    }

    /// The profile of a client that does not choose one.
    pub(crate) fn of_user_agent(agent: &str) -> Self {
        const KNOWN: [(&str, Profile); 5] = [
            ("ADBC Flight SQL Driver", Profile::Native),
            ("JDBC Flight SQL Driver", Profile::Jdbc),
            // Only later versions of that driver say who they are; other Java programs lose no more than the zone's name.
            ("grpc-java-", Profile::JdbcUnzoned),
            // Behind ADBC, which names this library too, so it is Grafana.
            ("grpc-go/", Profile::Bi),
            // Our own. Others in Rust hand batches on to readers that may know less.
            ("alula/", Profile::Native),
        ];
        KNOWN.into_iter().find(|(name, _)| agent.contains(name)).map_or(Self::Safe, |(_, profile)| profile)
    }
}

#[cfg(test)]
mod tests;
