import Tokens

extension ValueForm where Value == [TokenSecret] {
    /// A secret, or a list of secrets and of `{kid: TEXT, secret: TEXT}`. Never shown in errors.
    static var tokenSecrets: Self {
        let remedy =
            "give a secret of \(TokenSecret.minBytes) to \(TokenSecret.maxBytes) bytes (openssl rand -hex 32 makes one), "
            + "or a list of {kid: TEXT, secret: TEXT}"
        return Self(
            read: { value throws(BadValue) in
                let items: [ConfigurationValue] =
                    switch value {
                    case .list(let list, _): list
                    case .missing: throw BadValue("is no value", remedy: remedy, value: "the value")
                    // Not parted at commas as other lists are: they may be part of the secret. Empty as in `""`: none.
                    case .scalar(let text, _): text.isEmpty ? [] : [value]
                    case .mapping: [value]
                    }
                guard items.count <= maxSecrets else {
                    throw BadValue("are too many", remedy: "give at most \(maxSecrets)", value: "the secrets")
                }
                var secrets: [TokenSecret] = []
                for (index, item) in items.enumerated() {
                    let secret = try secret(item, remedy, "secret \(index + 1)")
                    guard !secrets.contains(where: { $0.id == secret.id }) else {
                        throw BadValue(
                            "has the kid of another one, or both have none",
                            remedy: "give each secret a kid of its own", line: item.line, value: "secret \(index + 1)")
                    }
                    secrets.append(secret)
                }
                return secrets
            },
            write: { secrets in
                let entries = secrets.map { secret in
                    let id = secret.id.map { "kid: \(quoted($0)), " } ?? ""
                    return "{\(id)secret: \(quoted(secret.secret))}"
                }
                return "[" + entries.joined(separator: ", ") + "]"
            })
    }

    private static var maxSecrets: Int { 100 }

    private static func secret(
        _ value: ConfigurationValue, _ remedy: String, _ name: String
    ) throws(BadValue) -> TokenSecret {
        func bad(_ problem: String) -> BadValue { BadValue(problem, remedy: remedy, line: value.line, value: name) }
        var found = TokenSecret(secret: "")
        switch value {
        case .scalar(let text, _): found.secret = text
        case .mapping(let pairs, _):
            for (key, part) in pairs {
                guard case .scalar(let text, _) = part else { throw bad("has a \(key) that is no text") }
                switch key {
                case "secret": found.secret = text
                case "kid" where (1...255).contains(text.utf8.count): found.id = text
                case "kid": throw bad("has a kid that is empty or too long")
                default: throw bad("has a key other than kid and secret")
                }
            }
        case .list, .missing: throw bad("is not a secret")
        }
        guard found.secret.utf8.count >= TokenSecret.minBytes else { throw bad("is too short or has no secret") }
        guard found.secret.utf8.count <= TokenSecret.maxBytes else { throw bad("is too long") }
        return found
    }
}

extension ValueForm where Value == String {
    /// Any text of moderate length.
    static var text: Self {
        let remedy = "give a text of at most 1024 bytes, or \"\" for none"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                guard text.utf8.count <= 1_024 else { throw BadValue("is too long", remedy: remedy) }
                return text
            }, write: { quoted($0) })
    }
}

/// As YAML with double quotes.
private func quoted(_ text: String) -> String {
    "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
}
