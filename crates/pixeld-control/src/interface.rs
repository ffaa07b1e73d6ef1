/// The description that GetInterfaceDescription returns.
pub const DESCRIPTION: &str = include_str!("io.pixeld.Control.varlink");

#[cfg(test)]
mod tests {
    use zlink::{
        idl::{CustomType as IdlType, Field, Interface},
        introspect::{CustomType, ReplyError, Type},
    };

    use super::*;
    use crate::types::{
        Attribution, ConfigReply, ConnectionStats, ControlError, DrainReply, EventInfo, EventLevel,
        EventsReply, LatencyBucket, LatencyStats, ProcessInfo, ReloadReply, RequestCounts, RequestRates,
        ResumeReply, ServiceState, SetLogLevelReply, SetWorkersReply, Setting, SettingChange, Stats,
        StatsReply, WatchEventsReply, WorkerInfo, WorkerState, WorkersReply,
    };

    fn described() -> Interface<'static> {
        DESCRIPTION.try_into().expect("the description is valid Varlink")
    }

    fn shape<'f>(fields: impl Iterator<Item = &'f Field<'static>>) -> Vec<String> {
        fields.map(|field| format!("{}: {}", field.name(), field.ty())).collect()
    }

    fn type_shape(ty: &IdlType<'static>) -> Vec<String> {
        match (ty.as_object(), ty.as_enum()) {
            (Some(object), _) => shape(object.fields()),
            (_, Some(choice)) => choice.variants().map(|variant| variant.name().to_string()).collect(),
            _ => unreachable!("a type is an object or an enum"),
        }
    }

    #[test]
    fn described_types_match_sent_types() {
        let interface = described();
        let sent = [
            ServiceState::CUSTOM_TYPE,
            Attribution::CUSTOM_TYPE,
            ProcessInfo::CUSTOM_TYPE,
            RequestCounts::CUSTOM_TYPE,
            RequestRates::CUSTOM_TYPE,
            LatencyBucket::CUSTOM_TYPE,
            LatencyStats::CUSTOM_TYPE,
            ConnectionStats::CUSTOM_TYPE,
            Stats::CUSTOM_TYPE,
            WorkerState::CUSTOM_TYPE,
            WorkerInfo::CUSTOM_TYPE,
            Setting::CUSTOM_TYPE,
            SettingChange::CUSTOM_TYPE,
            EventLevel::CUSTOM_TYPE,
            EventInfo::CUSTOM_TYPE,
        ];
        assert_eq!(interface.custom_types().count(), sent.len());
        for (described, sent) in interface.custom_types().zip(sent) {
            assert_eq!(described.name(), sent.name());
            assert_eq!(type_shape(described), type_shape(sent), "{}", sent.name());
        }
    }

    #[test]
    fn described_replies_match_sent_replies() {
        let interface = described();
        let sent = [
            ("GetStats", StatsReply::TYPE),
            ("WatchStats", StatsReply::TYPE),
            ("GetWorkers", WorkersReply::TYPE),
            ("SetWorkers", SetWorkersReply::TYPE),
            ("GetConfig", ConfigReply::TYPE),
            ("Reload", ReloadReply::TYPE),
            ("SetLogLevel", SetLogLevelReply::TYPE),
            ("Drain", DrainReply::TYPE),
            ("Resume", ResumeReply::TYPE),
            ("GetEvents", EventsReply::TYPE),
            ("WatchEvents", WatchEventsReply::TYPE),
            ("Identify", <()>::TYPE),
        ];
        assert_eq!(interface.methods().count(), sent.len());
        for (method, (name, reply)) in interface.methods().zip(sent) {
            assert_eq!(method.name().as_str(), name);
            let fields = reply.as_object().expect("a reply is an object");
            assert_eq!(shape(method.outputs()), shape(fields.iter()), "{name}");
        }
    }

    #[test]
    fn described_errors_match_sent_errors() {
        let interface = described();
        assert_eq!(interface.errors().count(), ControlError::VARIANTS.len());
        for (described, sent) in interface.errors().zip(ControlError::VARIANTS) {
            assert_eq!(described.name(), sent.name());
            assert_eq!(shape(described.fields()), shape(sent.fields()), "{}", sent.name());
        }
    }

    #[test]
    fn every_item_of_the_idl_has_a_comment() {
        let interface = described();
        for method in interface.methods() {
            assert!(method.comments().next().is_some(), "{}", method.name());
            for field in method.inputs().chain(method.outputs()) {
                assert!(field.comments().next().is_some(), "{}: {}", method.name(), field.name());
            }
        }
        for error in interface.errors() {
            assert!(error.comments().next().is_some(), "{}", error.name());
        }
        for object in interface.custom_types().filter_map(IdlType::as_object) {
            for field in object.fields() {
                assert!(field.comments().next().is_some(), "{}: {}", object.name(), field.name());
            }
        }
    }
}
