//! Proto messages of devices.

use chrono::{DateTime, Utc};
use haven_platform::time::timestamp;
use haven_proto::data::v1 as proto;

use crate::domain::encrypted::device::{Device, DevicePlatform, DeviceStatus};

/// Converts a device at `now`.
pub(in crate::rpc) fn device_message(device: Device, now: DateTime<Utc>) -> proto::Device {
    let rotation_overdue = device.rotation_overdue(now);
    proto::Device {
        device_id: device.id.to_string(),
        platform: platform(device.platform).into(),
        app_version: device.app_version,
        encrypted_master_key: device.wrapped_key.unwrap_or_default(),
        key_derivation_path: device.key_derivation_path,
        key_version: device.key_version,
        next_rotation_time: Some(timestamp(device.next_rotation_at)),
        rotation_overdue,
        status: status(device.status).into(),
        last_active_time: Some(timestamp(device.last_active_at)),
        acknowledged_change_number: device.acknowledged_number,
        create_time: Some(timestamp(device.created_at)),
        encrypted_label: device.label.unwrap_or_default(),
    }
}

/// Converts a platform into its protobuf value.
fn platform(platform: DevicePlatform) -> proto::DevicePlatform {
    match platform {
        DevicePlatform::Ios => proto::DevicePlatform::Ios,
        DevicePlatform::Android => proto::DevicePlatform::Android,
        DevicePlatform::Web => proto::DevicePlatform::Web,
    }
}

/// Converts a status into its protobuf value.
fn status(status: DeviceStatus) -> proto::DeviceStatus {
    match status {
        DeviceStatus::Active => proto::DeviceStatus::Active,
        DeviceStatus::Suspended => proto::DeviceStatus::Suspended,
        DeviceStatus::Revoked => proto::DeviceStatus::Revoked,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn each_platform_and_status_has_its_own_proto_value() {
        for (value, name) in [
            (DevicePlatform::Ios, "IOS"),
            (DevicePlatform::Android, "ANDROID"),
            (DevicePlatform::Web, "WEB"),
        ] {
            assert_eq!(platform(value).as_str_name(), format!("DEVICE_PLATFORM_{name}"));
        }
        for (value, name) in [
            (DeviceStatus::Active, "ACTIVE"),
            (DeviceStatus::Suspended, "SUSPENDED"),
            (DeviceStatus::Revoked, "REVOKED"),
        ] {
            assert_eq!(status(value).as_str_name(), format!("DEVICE_STATUS_{name}"));
        }
    }

    #[test]
    fn a_rotation_is_overdue_from_the_moment_at_which_it_is_due() {
        let due = DateTime::UNIX_EPOCH + TimeDelta::days(Device::ROTATION_DAYS);
        let overdue = |now| {
            let device = Device {
                id: Uuid::nil(),
                platform: DevicePlatform::Web,
                app_version: "1".into(),
                wrapped_key: None,
                key_derivation_path: "m".into(),
                key_version: 1,
                next_rotation_at: due,
                status: DeviceStatus::Active,
                last_active_at: due,
                acknowledged_number: 0,
                created_at: due,
                label: None,
            };
            device_message(device, now).rotation_overdue
        };
        assert!(!overdue(due - TimeDelta::microseconds(1)));
        assert!(overdue(due));
    }
}
