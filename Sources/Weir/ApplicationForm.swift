import RESTHooks
import WeirJSON

/// The section `applications`: a map of application keys to how their backends are reached. Its keys are the operator's,
/// so it has no `ConfigurationKey` and no environment variables.
enum ApplicationForm {
    static let section = "applications"
    private static let keys = [
        "url", "name", "methods", "username", "password", "secret_key", "default_rest_client_config",
    ]
    private static let remedy = "give url, and what else the backend needs; see Config/weir.yaml"

    /// - Parameter key: the application's.
    static func read(_ key: String, _ value: ConfigurationValue) throws(BadValue) -> Application {
        guard case .mapping(let pairs, _) = value else {
            throw BadValue("is not an application", remedy: remedy, line: value.line)
        }
        var url: ConfigurationValue?
        var name: String?
        var methods = Application.allMethods
        var username: String?
        var password: String?
        var secret: String?
        var config = RESTClientConfig()
        for (field, part) in pairs {
            do throws(BadValue) {
                switch field {
                case "url": url = part
                case "name": name = try part.scalarText("give a text")
                case "methods": methods = try Self.methods(part)
                case "username": username = try part.scalarText("give a text")
                case "password": password = try part.scalarText("give a text")
                case "secret_key": secret = try part.scalarText("give a text")
                case "default_rest_client_config": config = try Self.config(part)
                default:
                    let hint = nearest(to: field, of: keys).map { "did you mean \($0)?" }
                    throw BadValue(
                        "is not a key of an application", remedy: hint ?? "known are \(keys.joined(separator: ", "))")
                }
            } catch {
                // Never the value: it may be a password.
                throw BadValue(
                    error.problem, remedy: error.remedy, line: error.line ?? part.line, value: error.value ?? field)
            }
        }
        guard let url else { throw BadValue("has no url", remedy: remedy, line: value.line, value: key) }
        return try checked(key, value.line) { () throws(ApplicationError) in
            try Application(
                key: key, name: name, backend: try Application.Backend(url.plainText), methods: methods,
                credentials: try Application.credentials(username: username, password: password, secret: secret),
                defaultRESTClientConfig: config)
        }
    }

    private static func checked(
        _ key: String, _ line: Int, _ make: () throws(ApplicationError) -> Application
    ) throws(BadValue) -> Application {
        do throws(ApplicationError) {
            return try make()
        } catch {
            throw BadValue("is not right: \(error)", remedy: remedy, line: line, value: key)
        }
    }

    /// `all`, or a list of methods.
    private static func methods(_ value: ConfigurationValue) throws(BadValue) -> Set<String> {
        if case .scalar("all", _) = value { return Application.allMethods }
        let names = try ValueForm<[String]>.list(.hookMethod, 0...100).read(value)
        return Set(names)
    }

    /// The same members as `restClientConfig` of a connect answer has, in YAML.
    private static func config(_ value: ConfigurationValue) throws(BadValue) -> RESTClientConfig {
        if case .missing = value { return RESTClientConfig() }
        do throws(RESTClientConfig.Malformed) {
            let config = try RESTClientConfig(value.json)
            let known = Application.allMethods
            if let unknown = config.methods.keys.sorted().first(where: { !known.contains($0) }) {
                throw RESTClientConfig.Malformed(unknownMethod: unknown)
            }
            return config
        } catch {
            throw BadValue(
                "is not right: \(error)",
                remedy: "give METHOD: {restOnError: LOG|FAIL, restPolicy: NOTIFY|OVERWRITE|DISABLE, restOverwrite: "
                    + "\"a,b\", restExclude: \"a,b\", clientExclude: \"a,b\"}")
        }
    }
}

extension ConfigurationValue {
    /// As JSON, every scalar a text.
    fileprivate var json: JSONValue {
        switch self {
        case .scalar(let text, _): .string(text)
        case .list(let items, _): .array(items.map(\.json))
        case .mapping(let pairs, _): .object(pairs.map { JSONMember($0.key, $0.value.json) })
        case .missing: .null
        }
    }

    fileprivate var plainText: String {
        if case .scalar(let text, _) = self { text } else { "" }
    }
}

extension ValueForm where Value == String {
    /// The key of an application.
    static var applicationKey: Self {
        let remedy = "give keys of applications such as defaultApp"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                guard !text.isEmpty, text.utf8.count <= Application.maxKeyBytes else {
                    throw BadValue("is not an application key", remedy: remedy)
                }
                return text
            }, write: { $0 })
    }

    /// A method that can be attached to an application.
    static var hookMethod: Self {
        Self(
            read: { value throws(BadValue) in
                let remedy = "give names of hook methods, such as connect or publishStream, or all"
                let text = try value.scalarText(remedy)
                guard Application.allMethods.contains(text) else {
                    let hint = nearest(to: text, of: Application.allMethods.sorted())
                    throw BadValue(
                        "is not a hook method", remedy: hint.map { "did you mean \($0)?" } ?? remedy, line: value.line,
                        value: value.text)
                }
                return text
            }, write: { $0 })
    }

    /// What nobody else may know. Never shown in errors.
    static var secret: Self {
        let remedy = "give a text of at most 512 bytes, or \"\" for none"
        return Self(
            read: { value throws(BadValue) in
                let text: String
                do throws(BadValue) {
                    text = try value.scalarText(remedy)
                } catch {
                    throw BadValue(error.problem, remedy: remedy, value: "the value")
                }
                guard text.utf8.count <= 512 else {
                    throw BadValue("is too long", remedy: remedy, value: "the value")
                }
                return text
            }, write: { $0.isEmpty ? "\"\"" : "\"\($0)\"" })
    }
}
