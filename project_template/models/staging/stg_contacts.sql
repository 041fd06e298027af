-- sfsync run --vars '{dirty: true}' adds the rows of seeds/dirty_contacts.csv, each bad in its own way.
with exported as (

    select * from {{ ref('crm_contacts') }}
    {% if var('dirty', false) %}
    union all
    select * from {{ ref('dirty_contacts') }}
    {% endif %}

)

select
    {{ blank('customer_id') }} as customer_id,
    {{ blank('account_id') }} as account_id,
    {{ blank('first_name') }} as first_name,
    {{ blank('last_name') }} as last_name,
    lower({{ blank('email') }}) as email,
    {{ blank('phone') }} as phone,
    {{ blank('title') }} as title,
    {{ blank('department') }} as department,
    {{ blank('street') }} as street,
    {{ blank('city') }} as city,
    {{ blank('postal_code') }} as postal_code,
    {{ blank('country') }} as country,
    {{ blank('birthdate') }} as birthdate,
    {{ blank('interests') }} as interests,
    last_login,
    lifetime_value,
    {{ blank('preferred_time') }} as preferred_time,
    {{ yes_no('is_champion') }} as is_champion
from exported
