-- One row per customer, as syncs/contacts.yml maps it.
select
    customer_id,
    account_id,
    first_name,
    last_name,
    email,
    phone,
    title,
    department,
    street,
    city,
    postal_code,
    country,
    birthdate,
    interests,
    last_login,
    lifetime_value,
    preferred_time,
    coalesce(is_champion, false) as is_champion
from {{ ref('stg_contacts') }}
