"""Who somebody is: passwords, directories, single sign-on, second factors, sessions, one-time links, API keys, tokens,
throttling, audit. No web here.

People are objects of the document; their credentials are not: they stand in a database of their own, keyed by the
person's id, so that a roll back never brings an old password back. Each name is imported from its own module (``Access`` from
:mod:`.access`, ``SignIn`` from :mod:`.signin`, ``Factors`` from :mod:`.factors`), so that whoever wants the audit needn't load the
libraries of passkeys. The portal, the API and the hub use it like this::

    access = Access.open()                              # CENTRALINO_ACCESS_URL, else STATE/store/access.db
    signin = SignIn(access, people, must_have_factor)   # people() -> Document in force; must_have_factor(person) -> bool
    factors = Factors(access, people)

    # every request
    signin.session_of(cookie, address) -> (Session, Person) | None    look at .stage: PASSWORD, ENROL or FULL; .csrf
    access.keys.find("ck_…") -> ApiKey | None                         .owner, .scopes
    access.tokens.verify(jwt, audience) -> Claims                     .person, .scopes; RefusedError("token_invalid")

    # signing in: each gives Outcome(session, token, recovery_codes); put token into the cookie, in the place of the old one
    signin.password(name_or_email, password, address, agent)      RefusedError("sign_in_failed"), always the same;
                                                                  "directory_silent", to everybody alike
    signin.code(session, code, address)                           app's code or recovery code
    signin.passkey_options() -> Ceremony(options, token); signin.passkey(token, response, address, agent, session=None)
    signin.link(token, new_password, address, agent)              InvalidError: faults of the password; "link_invalid"
    providers = Providers(signin, secrets)                        single sign-on; secrets(id) -> what we were handed
    providers.begin(id, wanted, address) -> Begun(url, secret)    secret into a cookie, the browser to the url
    providers.finish(id, secret, query, address, agent)           -> Finished(outcome, wanted); "provider_…"
    signin.again(session, password, address)                      fresh proof, after RefusedError("prove_again")
    signin.change_password(session, old, new, address)            ends all other sessions

    # in a session
    factors.of(person) -> Held(password, totp, passkeys, recovery_codes)
    factors.begin_totp(session) -> Seed; .confirm_totp(session, code, address) -> Enrolled(outcome, recovery_codes)
    factors.begin_passkey(session) -> Ceremony; .add_passkey(session, token, response, name, address) -> Enrolled
    factors.remove_totp, .remove_passkey, .new_recovery_codes
    access.sessions.listed(person), .end(id), .end_all(person, but=id)
    access.keys.make(owner, name, scopes, days=…) -> (ApiKey, text); .listed(owner), .revoke(id)
    access.tokens.of_key(key, audience, scopes), .of_session(session, audience, scopes) -> str

    # administration
    access.links.make(person) -> token; links.path_of(token)
    access.reset(person); access.forget_unknown(ids of all people of the document), after each commit that removed some
    access.audit.entries(), .verify()

Who may see and change what is another matter: ``roles`` and ``permissions`` (pure) say it, ``guarded`` and ``transactions`` are
the one place where it is enforced.

What is kept: passwords as Argon2id, seeds of authenticator apps sealed by the key file, everything that is random enough
(tokens, links, keys, recovery codes) as SHA-256, public keys of passkeys. Reading the database opens no account.

What happens when…

disk full
    Nobody signs in (an attempt that can't be counted isn't made), ``disk_full``. Sessions and keys go on; only that they
    were used isn't noted.
database locked, or its server gone
    ``database_busy``, ``database_unavailable``; nothing is let through meanwhile.
a directory or a provider falls silent
    Whoever needs it waits for some seconds and is told; at most 8 wait at once, so the portal goes on. Passwords kept here,
    passkeys and links don't need it. Sessions that are there go on.
killed between two steps
    Every step is one transaction together with its entry in the audit. At worst a failure was counted for an attempt that
    led to nothing, or a passkey's challenge is used up.
the clock jumps
    Throttling goes by the machine's uptime. Codes of apps and a provider's tokens need the right time; recovery codes and
    passkeys don't. Sessions, links and challenges from more than 5 minutes in the future are over. Used codes stay used.
key file lost
    Codes of apps can't be checked (``bad_key``, told to whoever gave the right password); recovery codes and passkeys can.
    ``centralino access reset`` lets somebody start anew.
key of tokens lost
    Another is made; tokens of the last 15 minutes end.
garbage in the database
    A password's hash: nobody signs in with it, and the log says so. A seed: as a lost key. A file that is no database:
    ``corrupt``. An entry of the audit: ``centralino access audit --verify`` and the doctor name it.
two processes at once
    Writers take turns; what is good once (recovery code, step of an app, link, challenge) is used up by deleting or
    inserting one row, so exactly one wins.
a person removed from the document
    ``forget_unknown`` ends the sessions, revokes the keys and forgets the rest. Signing in looks into the document anyway.
"""
