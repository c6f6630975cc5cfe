//! The rules for new passwords, as recorded.

use actix_django_session::auth::password::PasswordValidators;

use super::recorded;

const NAMES: [(&str, &str); 4] = [
    ("username", "username"),
    ("first_name", "first name"),
    ("last_name", "last name"),
    ("email", "email address"),
];

#[test]
fn every_recorded_password() {
    let validators = PasswordValidators::django();
    for version in ["4.2", "5.2", "6.1"] {
        let file = recorded(version);
        let cases = file["validators"].as_array().unwrap();
        assert!(cases.len() > 500);
        for case in cases {
            let attributes: Vec<_> = NAMES
                .iter()
                .filter_map(|(field, name)| Some((*name, case[0].get(field)?.as_str()?)))
                .collect();
            let messages = validators.validate(case[1].as_str().unwrap(), &attributes);
            let expected: Vec<_> =
                case[2].as_array().unwrap().iter().map(|message| message.as_str().unwrap()).collect();
            assert_eq!(messages.err().unwrap_or_default(), expected, "{version}: {case}");
        }
    }
}

#[test]
fn rules_can_be_chosen() {
    let none = PasswordValidators::none();
    assert_eq!(none.validate("1", &[("username", "1")]), Ok(()));
    let one = none.min_length(1);
    let messages = one.validate("", &[]).unwrap_err();
    assert_eq!(messages, ["This password is too short. It must contain at least 1 character."]);
    assert!(one.clone().refuse_common().validate("dragon", &[]).is_err());
    assert!(one.clone().refuse_numeric().validate("7", &[]).is_err());
    assert!(one.max_similarity(0.9).validate("ada1", &[("name", "ada")]).is_ok());
}
