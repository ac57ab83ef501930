use towpath::{Options, QueueOptions};

#[test]
fn a_message_is_handed_out_until_it_is_settled() {
    let db = Options::temporary().open_temporary().unwrap();
    let mails = db.create_queue("mails", QueueOptions::new()).unwrap();
    for n in 0..200 {
        mails.send(&format!("mail {n}")).unwrap();
    }
    for n in 0..200 {
        let mail = mails.receive().unwrap();
        assert_eq!(mail.body(), format!("mail {n}").as_bytes());
        mail.ack().unwrap();
    }
    assert!(mails.try_receive().unwrap().is_none());
    mails.send("again").unwrap();
    mails.receive().unwrap().release().unwrap();
    let again = mails.receive().unwrap();
    assert_eq!((again.attempt(), again.hand_outs()), (1, 2));
    again.fail_with_delay("x", std::time::Duration::ZERO).unwrap();
    let again = mails.receive().unwrap();
    assert_eq!((again.attempt(), again.hand_outs()), (2, 3));
    again.reject("no").unwrap();
    let letters = mails.dead_letters(None, 10).unwrap();
    assert_eq!(letters[0].failures().len(), 2);
    mails.redrive(&letters).unwrap();
    assert_eq!(mails.receive().unwrap().body(), b"again");
    let held = mails.send("held").and_then(|_| mails.receive()).unwrap();
    db.delete_queue("mails").unwrap_err();
    held.ack().unwrap();
}
