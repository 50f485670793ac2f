use super::*;

fn principal(roles: impl IntoIterator<Item = Role>) -> Principal {
    Principal::new("a".parse().unwrap(), "dash".to_owned(), roles.into_iter().collect())
}

#[test]
fn roles_grant_reading_and_writing_as_named_and_admin_grants_both() {
    for (role, can_read, can_write, is_admin) in
        [(Role::Read, true, false, false), (Role::Write, false, true, false), (Role::Admin, true, true, true)]
    {
        let principal = principal([role]);
        assert_eq!(principal.can_read(), can_read, "{role}");
        assert_eq!(principal.require_read().is_ok(), can_read, "{role}");
        assert_eq!(principal.can_write(), can_write, "{role}");
        assert_eq!(principal.require_write().is_ok(), can_write, "{role}");
        assert_eq!(principal.is_admin(), is_admin, "{role}");
    }
}

#[test]
fn a_denial_names_the_missing_role_the_subject_and_its_roles() {
    let denied = principal([Role::Read]).require_write().unwrap_err();
    assert_eq!(denied.to_string(), "the role write is needed; \"dash\" has read");
    assert_eq!(denied.kind(), crate::ErrorKind::PermissionDenied);
    let denied = principal([]).require_read().unwrap_err();
    assert_eq!(denied.to_string(), "the role read is needed; \"dash\" has no role");
}

#[test]
fn a_server_without_authentication_serves_the_default_tenant_with_all_roles() {
    let anonymous = Principal::unauthenticated();
    assert_eq!(anonymous.tenant().as_str(), "default");
    assert!(anonymous.can_read() && anonymous.can_write() && anonymous.is_admin());
}

#[test]
fn only_the_three_role_names_are_roles() {
    for role in Role::ALL {
        assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
    }
    for bad in ["", "Read", "read ", "root", "read,write"] {
        assert!(bad.parse::<Role>().is_err(), "{bad:?} was accepted");
    }
    assert_eq!(Roles::all().to_string(), "read, write, admin");
}
